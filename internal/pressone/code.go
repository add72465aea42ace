package pressone

import (
	"fmt"
	"io"
	"log/slog"
)

// Code is part of what installs an eSIM, or all of it: whoever reads it first has the eSIM. However it is printed, logged or
// marshalled, it does not say what it is, unless Reveal is called on purpose.
type Code string

// hiddenCode stands in for a code.
const hiddenCode = "[activation code]"

// Reveal returns the code itself: for storage that is encrypted, for results, and for an operator whose reason is on record.
func (c Code) Reveal() string { return string(c) }

// String returns no code; nothing if there is none.
func (c Code) String() string {
	if c == "" {
		return ""
	}
	return hiddenCode
}

// Format prints String whatever the verb.
func (c Code) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue logs String.
func (c Code) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText marshals String.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Revealed is an eSIM as it is stored: its JSON has the codes, under PressOne's own names.
type Revealed struct {
	Sim

	LPA                        string  `json:"lpa"`
	MatchingID                 string  `json:"matching_id"`
	QRCode                     string  `json:"qrcode"`
	QRCodeURL                  string  `json:"qrcode_url,omitempty"`
	DirectAppleInstallationURL string  `json:"direct_apple_installation_url,omitempty"`
	ConfirmationCode           *string `json:"confirmation_code,omitempty"`
}

// Reveal returns the eSIM with its codes.
func (s Sim) Reveal() Revealed {
	return Revealed{
		Sim: s, LPA: s.LPA.Reveal(), MatchingID: s.MatchingID.Reveal(), QRCode: s.QRCode.Reveal(), QRCodeURL: s.QRCodeURL.Reveal(),
		DirectAppleInstallationURL: s.DirectAppleInstallationURL.Reveal(), ConfirmationCode: s.confirmation(),
	}
}

func (s Sim) confirmation() *string {
	if s.ConfirmationCode == nil {
		return nil
	}
	code := s.ConfirmationCode.Reveal()
	return &code
}

// RevealedOrder is an order as it is stored: its JSON has its eSIMs' codes.
type RevealedOrder struct {
	Order

	Sims []Revealed `json:"sims,omitempty"`
}

// Reveal returns the order with its eSIMs' codes.
func (o Order) Reveal() RevealedOrder {
	r := RevealedOrder{Order: o}
	for _, s := range o.Sims {
		r.Sims = append(r.Sims, s.Reveal())
	}
	return r
}
