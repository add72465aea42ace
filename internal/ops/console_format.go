package ops

import (
	"encoding/hex"
	"fmt"
	"html/template"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"esimflow/internal/deadletter"
	"esimflow/internal/saga"
)

// parsePages makes each page of the layout, what pages share, and a file of its own.
func parsePages(now func() time.Time, versions map[string]string) map[string]*template.Template {
	funcs := template.FuncMap{
		"ago":    func(t any) template.HTML { return ago(t, now()) },
		"span":   span,
		"num":    num,
		"money":  money,
		"upto":   upTo,
		"tone":   tone,
		"short":  short,
		"long":   func(s string) bool { return utf8.RuneCountInString(s) > 60 },
		"words":  func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
		"hide":   hide,
		"letter": letterOf,
		"href":   href,
		"asset":  func(name string) string { return href("/assets/"+name, "v", versions[name]) },
		"states": saga.States,
		"dict":   dict,
		"shares": sharesOf,
		"kept": func() []string {
			return []string{"open", "replayed", "adopted", "confirmed_absent", "discarded", "any"}
		},
		"statuses": func() []string { return []string{"open", "adopted", "settled", "dismissed", "any"} },
	}
	shared := template.Must(template.New("").Funcs(funcs).ParseFS(consoleFiles, "console/layout.html", "console/parts.html"))
	pages := map[string]*template.Template{}
	for _, name := range []string{
		"overview", "sagas", "saga", "letters", "letter", "preview", "replays", "replay", "audit", "trail", "login", "error",
	} {
		pages[name] = template.Must(template.Must(shared.Clone()).ParseFS(consoleFiles, "console/"+name+".html"))
	}
	return pages
}

// dict makes a map of names and values, for a part that needs several things.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("ops: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// ago is a time as operators think of it, with the exact one for who looks closer. It takes
// a time or a pointer to one; nothing is a dash.
func ago(at any, now time.Time) template.HTML {
	var t time.Time
	switch v := at.(type) {
	case time.Time:
		t = v
	case *time.Time:
		if v != nil {
			t = *v
		}
	}
	if t.IsZero() {
		return "<span class=\"none\">–</span>"
	}
	text := "now"
	switch d := now.Sub(t); {
	case d <= -time.Second:
		text = "in " + coarse(-d)
	case d >= time.Second:
		text = coarse(d) + " ago"
	}
	//nolint:gosec // digits and letters of our own making
	return template.HTML(fmt.Sprintf("<time datetime=\"%s\" title=\"%s\">%s</time>",
		t.UTC().Format(time.RFC3339Nano), t.UTC().Format("Mon 2 Jan 2006 15:04:05.000 UTC"), text))
}

// coarse is a duration in its largest unit: 42 s, 3 min, 2 h, 4 d.
func coarse(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d d", d/(24*time.Hour))
}

// span is a duration in its two largest units at most: 850 ms, 42 s, 3 min 10 s, 2 h 5 min,
// 4 d.
func span(d time.Duration) string {
	d = max(0, d)
	unit := func(n time.Duration, name string, rest time.Duration, small string) string {
		if rest == 0 {
			return fmt.Sprintf("%d %s", n, name)
		}
		return fmt.Sprintf("%d %s %d %s", n, name, rest, small)
	}
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 10*time.Minute:
		return unit(d/time.Minute, "min", d%time.Minute/time.Second, "s")
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 24*time.Hour:
		return unit(d/time.Hour, "h", d%time.Hour/time.Minute, "min")
	case d < 10*24*time.Hour:
		return unit(d/(24*time.Hour), "d", d%(24*time.Hour)/time.Hour, "h")
	}
	return fmt.Sprintf("%d d", d/(24*time.Hour))
}

// num is a whole number with thin spaces between thousands.
func num(n any) string {
	s := fmt.Sprint(n)
	if _, err := strconv.ParseInt(s, 10, 64); err != nil {
		return s
	}
	digits := strings.TrimPrefix(s, "-")
	var b strings.Builder
	for i, r := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(r)
	}
	return strings.TrimSuffix(s, digits) + b.String()
}

// money is a decimal amount with thin spaces between thousands.
func money(amount string) string {
	whole, rest, found := strings.Cut(amount, ".")
	if !found {
		return num(whole)
	}
	return num(whole) + "." + rest
}

// upTo is a count that ended at most: what exceeds it is "more than".
func upTo(n, most int) string {
	if n > most {
		return num(most) + "+"
	}
	return num(n)
}

// shares is what became of a replay's letters, and where in its bar that begins.
type shares struct{ Done, Refused, FailedAt, Failed, SkippedAt, Skipped int }

func sharesOf(r deadletter.Replay) shares {
	s := shares{Done: r.Done, Refused: r.Refused, Failed: r.Failed, Skipped: r.Skipped}
	s.FailedAt = s.Done + s.Refused
	s.SkippedAt = s.FailedAt + s.Failed
	return s
}

// short is the end of an id: its beginning is a time, which those of one page share.
func short(id any) string {
	s := fmt.Sprint(id)
	if len(s) <= 8 {
		return s
	}
	return "…" + s[len(s)-8:]
}

// tone is the colour of a state, a status or a fate.
func tone(s any) string {
	switch fmt.Sprint(s) {
	case "completed", "done", "adopted", "settled", "paired", "no":
		return "good"
	case "dead_lettered", "failed", "orphan", "double", "phantom", "yes":
		return "bad"
	case "unknown", "refused", "paused":
		return "odd"
	case "submitting", "polling", "notifying", "running", "open", "replayed", "confirmed_absent":
		return "busy"
	}
	return "calm"
}

// href is a path with a query of names and values; what is empty is left out.
func href(path string, pairs ...any) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := fmt.Sprint(pairs[i+1]); v != "" {
			q.Set(fmt.Sprint(pairs[i]), v)
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// codePattern is an activation code, plain or as it stands in an address.
var codePattern = regexp.MustCompile(`(?i)LPA(:|%3A)[0-9]+(\$|%24|\\u0024)[^\s"'<>&,;{}\[\]()]*`)

// hiddenCode stands for an activation code: whoever has one has the eSIM.
const hiddenCode = "[activation code]"

// hide takes activation codes out of text that others have written.
func hide(s any) string { return codePattern.ReplaceAllString(fmt.Sprint(s), hiddenCode) }

// mostShown is how many bytes of a request are shown.
const mostShown = 64 << 10

// bytesView is bytes, safe to look at.
type bytesView struct {
	Size   int
	Text   string // as text, if they are that
	Hex    string // and otherwise as a dump
	Cut    bool   // there is more
	Hidden bool   // activation codes were taken out
}

func viewBytes(b []byte) bytesView {
	v := bytesView{Size: len(b)}
	clean := codePattern.ReplaceAll(b, []byte(hiddenCode))
	v.Hidden = len(clean) != len(b) || string(clean) != string(b)
	if v.Cut = len(clean) > mostShown; v.Cut {
		clean = clean[:mostShown]
		for len(clean) > 0 && !utf8.RuneStart(clean[len(clean)-1]) {
			clean = clean[:len(clean)-1]
		}
		if r, n := utf8.DecodeLastRune(clean); r == utf8.RuneError {
			clean = clean[:len(clean)-n]
		}
	}
	if text := string(clean); readable(text) {
		v.Text = text
		return v
	}
	v.Cut = v.Cut || len(clean) > mostShown/8
	v.Hex = hex.Dump(clean[:min(len(clean), mostShown/8)])
	return v
}

// readable reports whether text can be shown as it is: nothing in it steers whoever shows it.
func readable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && r != '\r' && !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// secretHeader matches headers whose values are nobody's business.
var secretHeader = regexp.MustCompile(`(?i)auth|token|secret|cookie|password|api-?key`)

// letterOf is what an operator may do about a code or class, in words.
func letterOf(class, code string) string {
	switch class {
	case "insufficient_credit":
		return "PressOne refused for want of credit. Add credit, then replay: letters are released against the balance."
	case "out_of_stock":
		return "PressOne has none left. A replay tries one per package first."
	case "recycled":
		return "The eSIM was recycled. Nothing can be bought for it; discard the letter when upstream has been told."
	case saga.ClassExpired:
		return "The request is older than what is on record. Upstream should send it again, as a new message."
	case "malformed":
		return "The bytes are no request. Look at them; upstream has to publish what it meant."
	case "conflict":
		return "The request id was used before, with another meaning. Upstream needs a new id."
	}
	switch code {
	case saga.CodeOutcomeUnknown:
		return "Whether it was bought is not known. A replay looks for it again; or look yourself, then adopt the order or confirm its absence. One at a time."
	case "retries_exhausted", "deadline":
		return "It was tried until it gave up. When PressOne is well again, replay."
	case "poll_deadline":
		return "It was bought, and has not become installable in time. A replay goes on polling; it buys nothing."
	}
	return "PressOne said no. Look at one of them; replay when the cause is gone."
}
