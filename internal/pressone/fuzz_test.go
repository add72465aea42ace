package pressone

import (
	"math/big"
	"regexp"
	"strings"
	"testing"

	json "github.com/go-json-experiment/json/v1"

	"github.com/stretchr/testify/require"
)

func FuzzReadOrder(f *testing.F) {
	for _, seed := range []string{
		orderBody, `{"data":{"id":"1"}}`, `{"data":[{"id":1}]}`, `{"data":{"0":{"id":1}}}`, `{"data":{"id":1,"sims":{"1":{"iccid":8944465400000267221}}}}`,
		`{"data":{"id":1,"status":"completed","price":1e40,"quantity":{},"created_at":[],"description":7}}`, `{"data":[]}`, `{}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := ReadOrder(body)
		if err != nil {
			require.ErrorIs(t, err, ErrUnreadable)
			return
		}
		require.Positive(t, o.ID)
		require.GreaterOrEqual(t, o.Quantity, 0)
		for _, s := range o.Sims {
			require.True(t, isICCID(s.ICCID))
		}
		raw, err := json.Marshal(o.Reveal())
		require.NoError(t, err)
		var back Order
		require.NoError(t, json.Unmarshal(raw, &back), "what was stored can be read")
		require.Equal(t, o.ID, back.ID)
		require.Equal(t, o.Price, back.Price)
		require.Len(t, back.Sims, len(o.Sims))
	})
}

func FuzzReadPage(f *testing.F) {
	for _, seed := range []string{
		listPage("[]", 1, 1, 0), listPage(`{"3":{"id":1}}`, 2, 2, 4), `{"data":[1],"links":{"next":"x"}}`, `{"data":[],"meta":[]}`,
		`{"data":[],"meta":{"last_page":"x"}}`, `{"data":{}}`, `{"code":1,"data":[]}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := readPage(body)
		if err != nil {
			require.ErrorIs(t, err, ErrUnreadable)
			return
		}
		require.GreaterOrEqual(t, p.total.value, int64(0))
		require.GreaterOrEqual(t, p.last.value, int64(0))
		_, _ = p.end(1, len(p.items) > 0)
	})
}

// FuzzDecimal takes math/big for a second opinion: an amount is exactly what was written, and its text is the only one for
// that amount, so that two prices can be compared.
func FuzzDecimal(f *testing.F) {
	for _, seed := range []string{
		"9.50", "9.5", "-0", "1e3", "12e-5", "0001.1000", "1E+2", "-12.5e1", "1e40", "1e41", "0e40", ".5", "5.", "+1", "0x1p4", "1_000", " 1 ", "NaN", "Infinity",
		"1/2", "٣", "99999999999999999999999999999999999999.99", "0.0000000000000000000000000000000000000001", "x", "",
	} {
		f.Add(seed)
	}
	canonical := regexp.MustCompile(`^(0|-?[1-9][0-9]*|-?(0|[1-9][0-9]*)\.[0-9]*[1-9])$`)
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseDecimal(s)
		if !ok {
			require.Empty(t, d)
			return
		}
		require.Regexp(t, canonical, string(d))
		require.LessOrEqual(t, len(d), decimalDigitsMax+2)
		again, ok := ParseDecimal(string(d))
		require.True(t, ok)
		require.Equal(t, d, again, "canonical")
		got, ok := d.Rat()
		require.True(t, ok)
		want, ok := new(big.Rat).SetString(strings.TrimSpace(s))
		require.True(t, ok, "%q", s)
		require.Zero(t, want.Cmp(got), "%q is not %s", s, d)

		// In JSON it is the same, as a number and as text, wherever JSON takes it.
		for _, raw := range []string{strings.TrimSpace(s), `"` + string(d) + `"`} {
			if !json.Valid([]byte(raw)) {
				continue
			}
			var read Decimal
			require.NoError(t, json.Unmarshal([]byte(raw), &read))
			require.Equal(t, d, read)
		}
	})
}
