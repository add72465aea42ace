package message

// Kind is what is being bought.
type Kind string

// The two kinds of request.
const (
	Order Kind = "order" // new eSIMs
	Topup Kind = "topup" // more data for an eSIM that exists
)

// Kinds lists every kind.
func Kinds() []Kind { return []Kind{Order, Topup} }

// Valid reports whether k is a kind.
func (k Kind) Valid() bool { return k == Order || k == Topup }
