package message

import (
	"cmp"
	"maps"
	"net/textproto"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Header reads a header whatever its case: NATS keeps case, and senders differ. Of several
// that differ in case only, the first in byte order counts, so that a message delivered
// again is read as it was before.
func Header(h nats.Header, name string) string {
	var found, value string
	for key, values := range h {
		if len(values) > 0 && strings.EqualFold(key, name) && (found == "" || key < found) {
			found, value = key, values[0]
		}
	}
	return value
}

// SenderHeaders is h without what NATS itself acts on: a Nats-Msg-Id that is published a
// second time inside the duplicate window would be acknowledged and not stored. Names that
// the NATS client refuses to publish are left out, too: with them, the message would never
// get anywhere.
func SenderHeaders(h nats.Header) nats.Header {
	kept := nats.Header{}
	for key, values := range h {
		if publishable(key) && !strings.HasPrefix(strings.ToLower(key), "nats-") {
			kept[key] = values
		}
	}
	return kept
}

// publishable reports whether nats.go publishes a header of that name: printable ASCII
// without separators. Other clients publish more than that, and nats.go receives it.
func publishable(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"()/,:;<=>?@[\]{}`, r)
	})
}

// maxHeaderValue is the longest value of a header of ours, in bytes.
const maxHeaderValue = 1 << 10

// headerValue makes s fit for a header: one line, without what does not print, and not
// longer than maxHeaderValue. NATS drops the spaces at its ends.
func headerValue(s string) string {
	s = clip(strings.ToValidUTF8(s, "?"), maxHeaderValue)
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s))
}

// clip cuts s to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// headersSize is what headers take up in a message as nats.go writes it, in bytes. NATS
// counts them among the payload.
func headersSize(h nats.Header) int {
	n := 0
	for key, values := range h {
		n += headerSize(key, values...)
	}
	if n > 0 {
		n += len("NATS/1.0\r\n\r\n")
	}
	return n
}

func headerSize(key string, values ...string) int {
	n := 0
	for _, v := range values {
		n += len(key) + len(": \r\n") + len(textproto.TrimString(v))
	}
	return n
}

// smallestFirst lists the names of headers by the size they have in a message.
func smallestFirst(h nats.Header) []string {
	return slices.SortedFunc(maps.Keys(h), func(a, b string) int {
		return cmp.Or(cmp.Compare(headerSize(a, h[a]...), headerSize(b, h[b]...)), cmp.Compare(a, b))
	})
}

// containsFold reports whether list has name, whatever its case.
func containsFold(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}
