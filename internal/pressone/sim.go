package pressone

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"
)

// Sim is one eSIM. Whoever has its activation code has the eSIM, so it prints and logs as its ICCID's last digits only.
// Its JSON, under PressOne's own names, has no codes: Reveal has.
type Sim struct {
	ICCID                      string     `json:"iccid"`
	LPA                        Code       `json:"lpa"`         // the SM-DP+ server's host
	MatchingID                 Code       `json:"matching_id"` // with LPA, the activation code
	QRCode                     Code       `json:"qrcode"`      // LPA:1$<lpa>$<matching id>
	QRCodeURL                  Code       `json:"qrcode_url,omitempty"`
	DirectAppleInstallationURL Code       `json:"direct_apple_installation_url,omitempty"`
	APNType                    string     `json:"apn_type,omitempty"`
	APNValue                   *string    `json:"apn_value,omitempty"`
	IsRoaming                  *bool      `json:"is_roaming,omitempty"`
	ConfirmationCode           *Code      `json:"confirmation_code,omitempty"`
	MSISDN                     *string    `json:"msisdn,omitempty"`
	Recycled                   bool       `json:"recycled,omitempty"` // dead: cannot be installed or topped up
	RecycledAt                 *time.Time `json:"recycled_at,omitempty"`
	CreatedAt                  *time.Time `json:"created_at,omitempty"`
}

// Installable reports whether everything is there that installing takes. A recycled eSIM never is.
func (s Sim) Installable() bool {
	return !s.Recycled && s.ICCID != "" && s.LPA != "" && s.MatchingID != "" && s.QRCode != ""
}

// UnmarshalJSON reads an eSIM as PressOne writes it, and as the JSON of Revealed has it. It fails only on what is no object; an ICCID
// that is not 18–22 digits is left empty.
func (s *Sim) UnmarshalJSON(raw []byte) error {
	var wire struct {
		ICCID      text      `json:"iccid"`
		LPA        text      `json:"lpa"`
		MatchingID text      `json:"matching_id"`
		QRCode     text      `json:"qrcode"`
		QRCodeURL  text      `json:"qrcode_url"`
		AppleURL   text      `json:"direct_apple_installation_url"`
		APNType    text      `json:"apn_type"`
		APNValue   optional  `json:"apn_value"`
		IsRoaming  boolean   `json:"is_roaming"`
		Code       optional  `json:"confirmation_code"`
		MSISDN     optional  `json:"msisdn"`
		Recycled   boolean   `json:"recycled"`
		RecycledAt timestamp `json:"recycled_at"`
		CreatedAt  timestamp `json:"created_at"`
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return ErrUnreadable // not err: it may quote the body
	}
	*s = Sim{
		LPA: Code(wire.LPA), MatchingID: Code(wire.MatchingID), QRCode: Code(wire.QRCode), QRCodeURL: Code(wire.QRCodeURL),
		DirectAppleInstallationURL: Code(wire.AppleURL), APNType: string(wire.APNType), APNValue: wire.APNValue.value,
		IsRoaming: wire.IsRoaming.value, ConfirmationCode: (*Code)(wire.Code.value), MSISDN: wire.MSISDN.value,
		Recycled: wire.Recycled.is() || !wire.RecycledAt.IsZero(), RecycledAt: wire.RecycledAt.pointer(),
		CreatedAt: wire.CreatedAt.pointer(),
	}
	if iccid := strings.TrimSpace(string(wire.ICCID)); isICCID(iccid) {
		s.ICCID = iccid
	}
	return nil
}

// Sim returns one eSIM as PressOne has it now.
func (c *Client) Sim(ctx context.Context, iccid string) (Sim, error) {
	path, e := simPath(OpGetSim, iccid, "")
	if e != nil {
		return Sim{}, e
	}
	q := query{op: OpGetSim, path: path, oneThing: true}
	a, err := c.get(ctx, q)
	if err != nil {
		return Sim{}, err
	}
	var answer struct {
		Data Sim `json:"data"`
	}
	if json.Unmarshal(a.body, &answer) != nil { // the error is not kept: it may quote the body
		return Sim{}, c.finish(q.op, unreadable(a, ErrUnreadable))
	}
	if answer.Data.ICCID != iccid {
		return Sim{}, c.finish(q.op, unreadable(a, fmt.Errorf("%w: another eSIM", ErrUnreadable)))
	}
	return answer.Data, nil
}

// simPath is the path of one eSIM, or of something of it. An ICCID that is none is refused: with an empty one PressOne
// answers with the list of all eSIMs.
func simPath(op Operation, iccid, of string) (string, error) {
	if !isICCID(iccid) {
		return "", invalid(op, "iccid is not 18–22 digits")
	}
	return "/sims/" + url.PathEscape(iccid) + of, nil
}

// isICCID reports whether s is 18–22 digits.
func isICCID(s string) bool { return len(s) >= 18 && len(s) <= 22 && digits(s) }

// String returns the masked ICCID.
func (s Sim) String() string { return "Sim(" + maskICCID(s.ICCID) + ")" }

// Format prints String whatever the verb.
func (s Sim) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue logs the masked ICCID.
func (s Sim) LogValue() slog.Value {
	return slog.GroupValue(slog.String("iccid", maskICCID(s.ICCID)), slog.Bool("recycled", s.Recycled))
}

// maskICCID keeps the last four digits.
func maskICCID(iccid string) string {
	if len(iccid) <= 4 {
		return "…"
	}
	return "…" + iccid[len(iccid)-4:]
}

// readSims reads the eSIMs of an order. One that has no readable ICCID is left out: the order then has fewer eSIMs than were
// bought, which is not ready, and PressOne is asked again.
func readSims(raw json.RawMessage) []Sim {
	list, _ := elements(raw)
	var sims []Sim
	for _, element := range list {
		var s Sim
		if s.UnmarshalJSON(element) == nil && s.ICCID != "" {
			sims = append(sims, s)
		}
	}
	return sims
}
