package pressone

import (
	"regexp"
	"strings"
	"unicode"
)

// reasonMax is the longest reason kept, in runes.
const reasonMax = 200

// bearers are the shapes of what must not be in a message: activation codes and the address Apple's installer is given,
// tokens by their scheme, and JSON web tokens (which PressOne's seem to be).
var bearers = regexp.MustCompile(`(?i)(lpa:\S+|carddata=\S+|(bearer\s+)+\S+|\beyJ[A-Za-z0-9_-]{8,}\S*)`)

func redact(text string) string { return bearers.ReplaceAllString(text, redacted) }

// clean makes text from elsewhere fit for a message: one line, short, without control characters and without anything that
// looks like a secret. It is redacted as it came, where what is invisible belongs to a secret, and as it will be read, where
// that is space. What is cut off is cut after redacting, so that no half of a secret stays.
func clean(text string) string {
	text = redact(oneLine(redact(strings.ToValidUTF8(text, "?"))))
	n := 0
	for i := range text {
		if n == reasonMax {
			return strings.TrimSpace(text[:i])
		}
		n++
	}
	return text
}

// oneLine has a single space for whatever is space or cannot be seen, and none at the ends.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}

// secrets are values known to this client that must not be in a message, whatever they look like.
type secrets []string

// clean is [clean], and removes the known values first.
func (s secrets) clean(text string) string {
	for _, v := range s {
		if len(v) >= 4 { // shorter ones would eat ordinary words, and protect nothing
			text = strings.ReplaceAll(text, v, "[redacted]")
		}
	}
	return clean(text)
}
