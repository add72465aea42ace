package pressone

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"
)

// Sim returns one eSIM as PressOne has it now.
func (c *Client) Sim(ctx context.Context, iccid string) (Sim, error) {
	path, e := simPath(OpGetSim, iccid, "")
	if e != nil {
		return Sim{}, e
	}
	q := query{op: OpGetSim, path: path, oneThing: true}
	s, err := getData[Sim](ctx, c, q)
	if err != nil {
		return Sim{}, err
	}
	if s.ICCID != iccid {
		return Sim{}, c.finish(q.op, &Error{Status: 200, Err: fmt.Errorf("%w: another eSIM", ErrUnreadable)})
	}
	return s, nil
}

// simPath is the path of one eSIM, or of something of it. An ICCID that is none is refused: with an empty one PressOne
// answers with the list of all eSIMs.
func simPath(op Operation, iccid, of string) (string, error) {
	if !isICCID(iccid) {
		return "", invalid(op, "iccid is not 18–22 digits")
	}
	return "/sims/" + url.PathEscape(iccid) + of, nil
}

// SimFilter selects eSIMs. An empty field does not filter.
type SimFilter struct {
	ICCID                  string // matches substrings
	CreatedFrom, CreatedTo time.Time
}

// Sims returns every eSIM that the filter selects: all of them, or an error.
func (c *Client) Sims(ctx context.Context, f SimFilter) ([]Sim, error) {
	values := url.Values{}
	if f.ICCID != "" {
		values.Set("filter[iccid]", f.ICCID)
	}
	if days := dayRange(f.CreatedFrom, f.CreatedTo); days != "" {
		values.Set("filter[created_at]", days)
	}
	return collect(paged(ctx, c, query{op: OpListSims, path: "/sims", values: values}, decodeSim))
}

func decodeSim(raw json.RawMessage) (string, Sim, error) {
	var s Sim
	if json.Unmarshal(raw, &s) != nil || s.ICCID == "" {
		return "", Sim{}, fmt.Errorf("%w: eSIM in list", ErrUnreadable)
	}
	return s.ICCID, s, nil
}

// Usage is what is left of an eSIM's package. PressOne's figures may be twenty minutes old.
type Usage struct {
	Status         string     `json:"status"`    // NOT_ACTIVE, ACTIVE, FINISHED, UNKNOWN, EXPIRED, RECYCLED
	Remaining      *int64     `json:"remaining"` // MB; meaningless when unlimited
	Total          *int64     `json:"total"`     // MB
	IsUnlimited    *bool      `json:"is_unlimited"`
	ExpiredAt      *time.Time `json:"expired_at"`
	RemainingVoice *int64     `json:"remaining_voice"` // minutes
	TotalVoice     *int64     `json:"total_voice"`
	RemainingText  *int64     `json:"remaining_text"` // messages
	TotalText      *int64     `json:"total_text"`
}

// UnmarshalJSON reads it as PressOne writes it.
func (u *Usage) UnmarshalJSON(raw []byte) error {
	var wire struct {
		Status         text      `json:"status"`
		Remaining      integer   `json:"remaining"`
		Total          integer   `json:"total"`
		IsUnlimited    boolean   `json:"is_unlimited"`
		ExpiredAt      timestamp `json:"expired_at"`
		RemainingVoice integer   `json:"remaining_voice"`
		TotalVoice     integer   `json:"total_voice"`
		RemainingText  integer   `json:"remaining_text"`
		TotalText      integer   `json:"total_text"`
	}
	if json.Unmarshal(raw, &wire) != nil {
		return ErrUnreadable
	}
	*u = Usage{
		Status: string(wire.Status), Remaining: wire.Remaining.pointer(), Total: wire.Total.pointer(),
		IsUnlimited: wire.IsUnlimited.value, ExpiredAt: wire.ExpiredAt.pointer(),
		RemainingVoice: wire.RemainingVoice.pointer(), TotalVoice: wire.TotalVoice.pointer(),
		RemainingText: wire.RemainingText.pointer(), TotalText: wire.TotalText.pointer(),
	}
	return nil
}

// Usage returns what is left of an eSIM's package. PressOne allows 100 requests a minute for each ICCID.
func (c *Client) Usage(ctx context.Context, iccid string) (Usage, error) {
	path, e := simPath(OpGetUsage, iccid, "/usage")
	if e != nil {
		return Usage{}, e
	}
	return getData[Usage](ctx, c, query{op: OpGetUsage, path: path, oneThing: true})
}

// HistoryEntry is one package that an eSIM has or had: the one it was bought with, or a top-up. It names no order.
type HistoryEntry struct {
	ID          int64      `json:"id"`
	Status      string     `json:"status"`
	Remaining   *int64     `json:"remaining"` // MB
	ActivatedAt *time.Time `json:"activated_at"`
	ExpiredAt   *time.Time `json:"expired_at"`
	FinishedAt  *time.Time `json:"finished_at"`
	Package     Package    `json:"package"`
}

// UnmarshalJSON reads it as PressOne writes it. It fails without an id: entries are counted by it.
func (h *HistoryEntry) UnmarshalJSON(raw []byte) error {
	var wire struct {
		ID          integer         `json:"id"`
		Status      text            `json:"status"`
		Remaining   integer         `json:"remaining"`
		ActivatedAt timestamp       `json:"activated_at"`
		ExpiredAt   timestamp       `json:"expired_at"`
		FinishedAt  timestamp       `json:"finished_at"`
		Package     json.RawMessage `json:"package"`
	}
	if json.Unmarshal(raw, &wire) != nil || !wire.ID.ok || wire.ID.value <= 0 {
		return ErrUnreadable
	}
	*h = HistoryEntry{
		ID: wire.ID.value, Status: string(wire.Status), Remaining: wire.Remaining.pointer(),
		ActivatedAt: wire.ActivatedAt.pointer(), ExpiredAt: wire.ExpiredAt.pointer(), FinishedAt: wire.FinishedAt.pointer(),
	}
	if len(wire.Package) > 0 {
		_ = json.Unmarshal(wire.Package, &h.Package) // an entry without a readable package is still an entry
	}
	return nil
}

// PackageHistory returns the packages of an eSIM. PressOne allows one request a quarter of an hour for each ICCID: it is no
// way to poll.
func (c *Client) PackageHistory(ctx context.Context, iccid string) ([]HistoryEntry, error) {
	path, e := simPath(OpGetHistory, iccid, "/packages")
	if e != nil {
		return nil, e
	}
	return getList[HistoryEntry](ctx, c, query{op: OpGetHistory, path: path, oneThing: true})
}

// Topups returns the top-ups offered for an eSIM now. An empty list means that there are none. PressOne demands that it is
// read anew before each top-up; it is never cached here.
func (c *Client) Topups(ctx context.Context, iccid string) ([]Package, error) {
	path, e := simPath(OpListTopups, iccid, "/topups")
	if e != nil {
		return nil, e
	}
	return getList[Package](ctx, c, query{op: OpListTopups, path: path, oneThing: true})
}

// Instructions tell how an eSIM is installed. They hold its activation code, so they print as their language only.
type Instructions struct {
	Language string        `json:"language"`
	IOS      []Instruction `json:"ios"`
	Android  []Instruction `json:"android"`
}

// Instruction is one way of installing, for some model or version.
type Instruction struct {
	Model        string   `json:"model,omitempty"`
	Version      string   `json:"version,omitempty"`
	QRSteps      []string `json:"qr_steps"`
	QRCodeData   string   `json:"qr_code_data,omitempty"` // the activation code
	QRCodeURL    string   `json:"qr_code_url,omitempty"`
	AppleURL     string   `json:"direct_apple_installation_url,omitempty"`
	ManualSteps  []string `json:"manual_steps"`
	ManualCode   string   `json:"smdp_address_and_activation_code,omitempty"`
	NetworkSteps []string `json:"network_steps"`
	APNType      string   `json:"apn_type,omitempty"`
	APNValue     *string  `json:"apn_value,omitempty"`
	IsRoaming    *bool    `json:"is_roaming,omitempty"`
}

// Format prints the language whatever the verb.
func (i Instructions) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "Instructions("+i.Language+")")
}

// Format prints that there is an instruction, whatever the verb.
func (i Instruction) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "Instruction(…)") }

// steps are an object with numerals for keys; they are returned in order.
type steps []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *steps) UnmarshalJSON(raw []byte) error {
	*s = nil
	list, _ := elements(raw)
	for _, element := range list {
		var t text
		_ = t.UnmarshalJSON(element)
		*s = append(*s, string(t))
	}
	return nil
}

type wireInstruction struct {
	Model   text `json:"model"`
	Version text `json:"version"`
	QR      struct {
		Steps    steps `json:"steps"`
		Data     text  `json:"qr_code_data"`
		URL      text  `json:"qr_code_url"`
		AppleURL text  `json:"direct_apple_installation_url"`
	} `json:"installation_via_qr_code"`
	Manual struct {
		Steps steps `json:"steps"`
		Code  text  `json:"smdp_address_and_activation_code"`
	} `json:"installation_manual"`
	Network struct {
		Steps     steps    `json:"steps"`
		APNType   text     `json:"apn_type"`
		APNValue  optional `json:"apn_value"`
		IsRoaming boolean  `json:"is_roaming"`
	} `json:"network_setup"`
}

func (w wireInstruction) instruction() Instruction {
	return Instruction{
		Model: string(w.Model), Version: string(w.Version),
		QRSteps: w.QR.Steps, QRCodeData: string(w.QR.Data), QRCodeURL: string(w.QR.URL), AppleURL: string(w.QR.AppleURL),
		ManualSteps: w.Manual.Steps, ManualCode: string(w.Manual.Code),
		NetworkSteps: w.Network.Steps, APNType: string(w.Network.APNType), APNValue: w.Network.APNValue.value,
		IsRoaming: w.Network.IsRoaming.value,
	}
}

// Instructions returns how to install an eSIM, in a language such as "en"; empty is PressOne's choice.
func (c *Client) Instructions(ctx context.Context, iccid, language string) (Instructions, error) {
	path, e := simPath(OpGetInstructions, iccid, "/instructions")
	if e != nil {
		return Instructions{}, e
	}
	type wire struct {
		Instructions struct {
			Language text              `json:"language"`
			IOS      []wireInstruction `json:"ios"`
			Android  []wireInstruction `json:"android"`
		} `json:"instructions"`
	}
	w, err := getData[wire](ctx, c, query{op: OpGetInstructions, path: path, language: strings.TrimSpace(language)})
	if err != nil {
		return Instructions{}, err
	}
	out := Instructions{Language: string(w.Instructions.Language)}
	for _, i := range w.Instructions.IOS {
		out.IOS = append(out.IOS, i.instruction())
	}
	for _, i := range w.Instructions.Android {
		out.Android = append(out.Android, i.instruction())
	}
	return out, nil
}
