package pressone

// CurrencyLabels are what CurrencyLabel returns. PressOne's documents know dollars only.
func CurrencyLabels() []string { return []string{"USD", "EUR", "GBP", "other"} }

// CurrencyLabel is a currency as metrics name it: labels are a closed set. An amount without
// one is in dollars, as all that PressOne documents.
func CurrencyLabel(currency string) string {
	switch currency {
	case "":
		return "USD"
	case "USD", "EUR", "GBP":
		return currency
	}
	return "other"
}
