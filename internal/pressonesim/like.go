package pressonesim

import "strings"

// pattern matches as SQL's LIKE '%value%' does (section 8). The zero pattern
// matches everything.
type pattern struct {
	text  string
	fold  bool // ignore case
	plain bool // no wildcards in text
}

func newPattern(value string, k *Knobs) pattern {
	p := pattern{text: value, fold: !k.LikeCaseSensitive}
	p.plain = k.LikeEscaped || !strings.ContainsAny(value, `%_\`)
	if p.fold {
		p.text = strings.ToLower(value)
	}
	return p
}

func (p pattern) empty() bool {
	return p.text == ""
}

// match tests a value that comes with its lower-case form, so that a search
// over many orders does not fold each of them again.
func (p pattern) match(value, lower string) bool {
	if p.empty() {
		return true
	}
	if p.fold {
		value = lower
	}
	if p.plain {
		return strings.Contains(value, p.text)
	}
	return like("%"+p.text+"%", value)
}

// like is LIKE with % for any run, _ for one byte and \ to take the next one
// literally. Two cursors and one point of return: linear in practice.
func like(pat, s string) bool {
	var p, i int
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pat) && pat[p] == '%':
			star, mark = p, i
			p++
		case p < len(pat) && pat[p] == '_':
			p++
			i++
		case p+1 < len(pat) && pat[p] == '\\' && pat[p+1] == s[i]:
			p += 2
			i++
		case p < len(pat) && pat[p] != '\\' && pat[p] == s[i]:
			p++
			i++
		case star >= 0:
			p = star + 1
			mark++
			i = mark
		default:
			return false
		}
	}
	for p < len(pat) && pat[p] == '%' {
		p++
	}
	return p == len(pat)
}
