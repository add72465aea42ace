package pressone

import (
	"math/big"
	"strconv"
	"strings"
)

// Decimal is an amount exactly as PressOne wrote it, in canonical text: an optional minus, digits without leading zeros, and
// a fraction without trailing zeros. "9.50", 9.5 and 9.500 are all "9.5". The zero value "" means that there was none.
// It has the text form of Postgres's numeric.
type Decimal string

// decimalDigitsMax bounds what is taken for an amount: nobody charges more digits than that, and an exponent must not be
// able to ask for megabytes.
const decimalDigitsMax = 40

// ParseDecimal returns s in canonical form, and false when s is not a decimal number.
func ParseDecimal(s string) (Decimal, bool) { return parseDecimal(strings.TrimSpace(s)) }

func parseDecimal(s string) (Decimal, bool) {
	rest, negative := strings.CutPrefix(s, "-")
	mantissa, exponent := rest, 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		n, err := strconv.Atoi(rest[i+1:])
		if err != nil || n > decimalDigitsMax || n < -decimalDigitsMax {
			return "", false
		}
		mantissa, exponent = rest[:i], n
	}
	whole, fraction, point := strings.Cut(mantissa, ".")
	if !digits(whole) || point && !digits(fraction) || len(whole)+len(fraction) > decimalDigitsMax {
		return "", false
	}
	for ; exponent > 0; exponent-- { // move the point to the right
		if fraction == "" {
			whole += "0"
		} else {
			whole, fraction = whole+fraction[:1], fraction[1:]
		}
	}
	for ; exponent < 0; exponent++ { // and to the left
		if whole == "" {
			fraction = "0" + fraction
		} else {
			whole, fraction = whole[:len(whole)-1], whole[len(whole)-1:]+fraction
		}
	}
	whole, fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	if whole == "" {
		whole = "0"
	}
	if len(whole)+len(fraction) > decimalDigitsMax {
		return "", false
	}
	out := whole
	if fraction != "" {
		out += "." + fraction
	}
	if negative && out != "0" {
		out = "-" + out
	}
	return Decimal(out), true
}

// digits reports whether s is one or more ASCII digits.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Rat returns the amount for exact arithmetic, and false when there is none.
func (d Decimal) Rat() (*big.Rat, bool) {
	if d == "" {
		return nil, false
	}
	return new(big.Rat).SetString(string(d))
}

// UnmarshalJSON reads a number or a string. Anything else, and text that is no number, is no amount; it is not an error,
// because an order with a price that cannot be read is still an order.
func (d *Decimal) UnmarshalJSON(raw []byte) error {
	var t text
	_ = t.UnmarshalJSON(raw)
	*d, _ = ParseDecimal(string(t))
	return nil
}
