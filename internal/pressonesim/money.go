package pressonesim

import "fmt"

// Cents is an amount of US dollars in integer cents. PressOne's answers render
// it as a decimal number or string; the books never do arithmetic on those.
type Cents int64

// String returns the amount as PressOne prints it in lists: "9.50".
func (c Cents) String() string {
	sign := ""
	if c < 0 {
		sign, c = "-", -c
	}
	return fmt.Sprintf("%s%d.%02d", sign, c/100, c%100)
}

// dollars is for rendering only.
func (c Cents) dollars() float64 {
	return float64(c) / 100
}
