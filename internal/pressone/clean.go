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
var bearers = regexp.MustCompile(`(?i)(lpa:\S+|carddata=\S+|bearer\s+\S+|\beyJ[A-Za-z0-9_-]{8,}\S*)`)

// clean makes text from elsewhere fit for a message: one line, short, without control characters and without anything that
// looks like a secret. What is cut off is cut after redacting, so that no half of a secret stays.
func clean(text string) string {
	text = bearers.ReplaceAllString(strings.ToValidUTF8(text, "?"), "[redacted]")
	var b strings.Builder
	n, space := 0, true // leading space is dropped
	for _, r := range text {
		if unicode.IsSpace(r) || unicode.IsControl(r) || !unicode.IsPrint(r) {
			if !space {
				b.WriteByte(' ')
				n++
			}
			space = true
		} else {
			b.WriteRune(r)
			n++
			space = false
		}
		if n == reasonMax {
			break
		}
	}
	return strings.TrimSpace(b.String())
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
