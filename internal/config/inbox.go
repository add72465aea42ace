package config

import (
	"net/url"
	"regexp"
	"strings"
)

// inboxPrefixPattern is one token of a subject or several, without wildcards.
var inboxPrefixPattern = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// checkInbox guards the prefix under which answers arrive. Messages that are taken from a
// stream are answers too: whoever may subscribe to a prefix reads them, so every user of NATS
// has one of its own.
func (l *loader) checkInbox() {
	const name = "NATS_INBOX_PREFIX"
	switch {
	case l.cfg.NATSInboxPrefix == "" && l.ok("NATS_URL"):
		l.cfg.NATSInboxPrefix = defaultInbox(l.cfg.NATSURL.Reveal(), l.need)
	case l.cfg.NATSInboxPrefix != "" && !inboxPrefixPattern.MatchString(l.cfg.NATSInboxPrefix):
		l.problem(name, "%q is not a subject's beginning: tokens of letters, digits, _ and -", l.cfg.NATSInboxPrefix)
	}
}

// defaultInbox is the prefix of the user that the first server's address names, or else of
// the program; empty is the client library's own, for whoever has no restrictions.
func defaultInbox(servers string, need Need) string {
	first, _, _ := strings.Cut(servers, ",")
	if u, err := url.Parse(strings.TrimSpace(first)); err == nil && u.User != nil {
		_, isUser := u.User.Password() // without one it is a token
		if prefix := "_INBOX_" + u.User.Username(); isUser && inboxPrefixPattern.MatchString(prefix) && !strings.Contains(prefix, ".") {
			return prefix
		}
	}
	if need == Worker || need == Publisher {
		return "_INBOX_" + string(need)
	}
	return ""
}
