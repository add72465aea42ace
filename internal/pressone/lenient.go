package pressone

import (
	"bytes"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	json "github.com/go-json-experiment/json/v1"
)

// The types below read a field that varies between endpoints. None of them ever fails: an oddity in one field must not make
// an order that was paid for unreadable. What matters is checked after decoding.

// text is a string, or a number or boolean in its own spelling; "" for null and for anything else.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(raw []byte) error {
	*t = ""
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil
	}
	switch raw[0] {
	case '"':
		if plain(raw) {
			*t = text(raw[1 : len(raw)-1])
			return nil
		}
		var s string
		if json.Unmarshal(raw, &s) == nil {
			*t = text(s)
		}
	case '{', '[', 'n':
	default:
		*t = text(raw)
	}
	return nil
}

// plain reports whether a JSON string says what it spells: most do, and reading them that way takes a tenth of the time.
func plain(raw []byte) bool {
	if len(raw) < 2 || raw[len(raw)-1] != '"' {
		return false
	}
	for _, c := range raw[1 : len(raw)-1] {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// optional is a text that may be null or absent.
type optional struct{ value *string }

// UnmarshalJSON implements json.Unmarshaler.
func (o *optional) UnmarshalJSON(raw []byte) error {
	o.value = nil
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] == 'n' || raw[0] == '{' || raw[0] == '[' {
		return nil
	}
	var t text
	_ = t.UnmarshalJSON(raw)
	s := string(t)
	o.value = &s
	return nil
}

// integer is a whole number, written as number or string.
type integer struct {
	value   int64
	ok      bool // it was there and could be read
	present bool // it was there and was not null
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *integer) UnmarshalJSON(raw []byte) error {
	var t text
	_ = t.UnmarshalJSON(raw)
	*n = integer{present: !bytes.Equal(bytes.TrimSpace(raw), []byte("null"))}
	d, ok := ParseDecimal(string(t))
	if !ok {
		return nil
	}
	v, err := strconv.ParseInt(string(d), 10, 64)
	n.value, n.ok = v, err == nil
	return nil
}

// boolean is true or false, also as 1, 0, "1", "0", "true", "false"; nil for anything else.
type boolean struct{ value *bool }

// UnmarshalJSON implements json.Unmarshaler.
func (b *boolean) UnmarshalJSON(raw []byte) error {
	var t text
	_ = t.UnmarshalJSON(raw)
	b.value = nil
	switch strings.ToLower(string(t)) {
	case "true", "1":
		b.value = new(true)
	case "false", "0":
		b.value = new(false)
	}
	return nil
}

// is reports whether it is known to be true.
func (b boolean) is() bool { return b.value != nil && *b.value }

// timestamp is a point in time in any of the forms that PressOne writes; those without a zone are taken as UTC. It is zero
// when it cannot be read.
type timestamp struct{ time.Time }

var timeLayouts = []string{
	"2006-01-02 15:04:05", time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02",
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *timestamp) UnmarshalJSON(raw []byte) error {
	var s text
	_ = s.UnmarshalJSON(raw)
	t.Time = time.Time{}
	for _, layout := range timeLayouts {
		at, err := time.Parse(layout, strings.TrimSpace(string(s)))
		if at = at.UTC(); err == nil && at.Year() >= 0 && at.Year() <= 9999 { // what JSON can say
			t.Time = at
			return nil
		}
	}
	return nil
}

// pointer returns the time, or nil when there is none.
func (t timestamp) pointer() *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}

// elements splits a list that is an array, or an object keyed by index (what PHP makes of a list with gaps). It returns
// false for anything else, null included: a list that is not there is not an empty list.
func elements(raw json.RawMessage) ([]json.RawMessage, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, false
	}
	switch raw[0] {
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return nil, false
		}
		return list, true
	case '{':
		var byIndex map[string]json.RawMessage
		if json.Unmarshal(raw, &byIndex) != nil {
			return nil, false
		}
		type entry struct {
			index int
			raw   json.RawMessage
		}
		entries := make([]entry, 0, len(byIndex))
		for k, v := range byIndex {
			i, err := strconv.Atoi(k)
			if err != nil {
				return nil, false
			}
			entries = append(entries, entry{i, v})
		}
		sort.Slice(entries, func(i, j int) bool { return entries[i].index < entries[j].index })
		list := make([]json.RawMessage, len(entries))
		for i, e := range entries {
			list[i] = e.raw
		}
		return list, true
	}
	return nil, false
}

// decode reads a whole body from which it may follow that something was not bought. One that has the same name twice in an object
// says one thing to us and another to others: it is not read at all. Looking takes a quarter of the time more.
func decode(body []byte, into any) error {
	return jsonv2.Unmarshal(body, into, json.DefaultOptionsV1(), jsontext.AllowDuplicateNames(false))
}

// envelope is what surrounds every success.
type envelope struct {
	Data json.RawMessage `json:"data"`
}

// object returns data when it is an object with something in it.
func (e envelope) object() (json.RawMessage, bool) {
	raw := bytes.TrimSpace(e.Data)
	return raw, len(raw) > 2 && raw[0] == '{'
}
