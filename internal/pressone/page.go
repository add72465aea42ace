package pressone

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"strconv"

	json "github.com/go-json-experiment/json/v1"
)

const (
	pageSize = 100
	// pagesMax bounds one pass over a list. Reaching it is an error, never the end of the list.
	pagesMax = 10_000
	// passesMax is how often a list that moves while it is read is read again.
	passesMax = 3
)

// page is one page of a list.
type page struct {
	items   []json.RawMessage
	current integer
	last    integer
	total   integer
	next    nextPage
}

// nextPage is what links.next says.
type nextPage int

const (
	nextUnsaid nextPage = iota
	nextNone
	nextExists
)

// readPage reads a page. It fails on whatever it cannot be sure about: completeness, and so absence, may be concluded from it.
func readPage(body []byte) (page, error) {
	var wire struct {
		Code  json.RawMessage `json:"code"`
		Data  json.RawMessage `json:"data"`
		Meta  json.RawMessage `json:"meta"`
		Links json.RawMessage `json:"links"`
	}
	if decode(body, &wire) != nil {
		return page{}, fmt.Errorf("%w: not JSON", ErrUnreadable)
	}
	if readCode(wire.Code) != "" {
		return page{}, fmt.Errorf("%w: an error with a status of success", ErrUnreadable)
	}
	var p page
	var ok bool
	if p.items, ok = elements(wire.Data); !ok {
		return page{}, fmt.Errorf("%w: data is not a list", ErrUnreadable)
	}
	var err error
	if p.current, p.last, p.total, err = readMeta(wire.Meta); err != nil {
		return page{}, err
	}
	if p.next, err = readNext(wire.Links); err != nil {
		return page{}, err
	}
	if len(p.items) == 0 && bytes.HasPrefix(bytes.TrimSpace(wire.Data), []byte("{")) && !p.last.ok && !p.total.ok {
		return page{}, fmt.Errorf("%w: data is an empty object", ErrUnreadable) // an empty list is [], or says that it is a page
	}
	return p, nil
}

// readMeta reads the numbers in meta. They may be absent, but not unreadable.
func readMeta(raw json.RawMessage) (current, last, total integer, err error) {
	if nothing(raw) {
		return current, last, total, nil
	}
	var meta struct {
		Current integer `json:"current_page"`
		Last    integer `json:"last_page"`
		Total   integer `json:"total"`
	}
	if json.Unmarshal(raw, &meta) != nil {
		return current, last, total, fmt.Errorf("%w: meta", ErrUnreadable)
	}
	for _, n := range []integer{meta.Current, meta.Last, meta.Total} {
		if n.present && (!n.ok || n.value < 0) {
			return current, last, total, fmt.Errorf("%w: a number in meta", ErrUnreadable)
		}
	}
	return meta.Current, meta.Last, meta.Total, nil
}

// readNext reads links.next: null at the end, an address before it.
func readNext(raw json.RawMessage) (nextPage, error) {
	if nothing(raw) {
		return nextUnsaid, nil
	}
	var links struct {
		Next json.RawMessage `json:"next"`
	}
	if json.Unmarshal(raw, &links) != nil {
		return nextUnsaid, fmt.Errorf("%w: links", ErrUnreadable)
	}
	var t text
	switch _ = t.UnmarshalJSON(links.Next); {
	case len(links.Next) == 0:
		return nextUnsaid, nil
	case t == "":
		return nextNone, nil
	}
	return nextExists, nil
}

// nothing reports whether raw is absent, null, or PHP's empty array.
func nothing(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || bytes.Equal(raw, []byte("null")) || bytes.Equal(raw, []byte("[]"))
}

// list reads a paged list. decode returns an element and what identifies it.
type list[K comparable, T any] struct {
	fetch  func(ctx context.Context, number int) (page, error)
	decode func(json.RawMessage) (K, T, error)
}

// all yields every element once, in the order in which they come, and at the end an error unless the list was read
// completely. A list may move while it is read: new orders push old ones onto later pages, where they are met twice. A pass
// is complete when its last page was reached, the list did not shrink (then something may have slipped past between two
// pages), and as many distinct elements were seen as the list has. From the second pass on as many as it had when that pass
// began will do: a list that grows all the time would never be complete otherwise, and what it had then has been read.
//
// A list that says neither where it ends nor how long it is may answer every page with the same elements, as one does that
// knows no pages. So does a list that grows by exactly a page between two requests; that one has something new when it is
// read again, so a pass that ended in a repetition is complete only if it has met nothing that was not there before.
func (l list[K, T]) all(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		seen := make(map[K]struct{})
		for number := 1; ; number++ {
			p := pass[K, T]{list: l, seen: seen, met: make(map[K]struct{}), before: len(seen)}
			stopped, err := p.run(ctx, yield)
			switch {
			case stopped:
				return
			case err != nil:
				yield(none, err)
				return
			case p.complete(number):
				return
			case number == passesMax:
				yield(none, fmt.Errorf("%w: %d of %d elements", ErrIncomplete, len(p.met), p.final.value))
				return
			}
		}
	}
}

// pass is one reading of a list from its first page to its last.
type pass[K comparable, T any] struct {
	list[K, T]

	seen   map[K]struct{} // yielded, in this pass or before
	met    map[K]struct{} // met in this pass
	first  integer        // the total when it began
	final  integer        // the total when it ended
	before int            // how many were seen when it began
	shrunk bool
	circle bool // it ended because a page repeated what was met before, for want of anything better
}

func (p *pass[K, T]) complete(number int) bool {
	switch {
	case p.shrunk:
		return false
	case p.final.ok:
		return int64(len(p.seen)) >= p.final.value || number > 1 && int64(len(p.met)) >= p.first.value
	case p.circle:
		return number > 1 && len(p.seen) == p.before
	}
	return true
}

func (p *pass[K, T]) run(ctx context.Context, yield func(T, error) bool) (stopped bool, err error) {
	for number := 1; number <= pagesMax; number++ {
		got, err := p.fetch(ctx, number)
		if err != nil {
			return false, err
		}
		if got.current.ok && got.current.value != int64(number) {
			return false, fmt.Errorf("%w: asked for page %d, got %d", ErrIncomplete, number, got.current.value)
		}
		p.count(got.total)
		fresh := false
		for _, raw := range got.items {
			key, element, err := p.decode(raw)
			if err != nil {
				return false, err
			}
			if _, ok := p.met[key]; !ok {
				p.met[key], fresh = struct{}{}, true
			}
			if _, ok := p.seen[key]; !ok {
				p.seen[key] = struct{}{}
				if !yield(element, nil) {
					return true, nil
				}
			}
		}
		switch end, err := got.end(number, fresh); {
		case err != nil:
			return false, err
		case end:
			p.circle = !fresh && len(got.items) > 0 && got.endless()
			return false, nil
		}
	}
	return false, fmt.Errorf("%w: more than %s pages", ErrIncomplete, strconv.Itoa(pagesMax))
}

// count keeps the totals.
func (p *pass[K, T]) count(total integer) {
	if !total.ok {
		return
	}
	if !p.first.ok {
		p.first = total
	}
	p.shrunk = p.shrunk || p.final.ok && total.value < p.final.value
	p.final = total
}

// endless reports whether the page says nothing about the end of the list.
func (g page) endless() bool { return !g.last.ok && g.next == nextUnsaid }

// end reports whether the page is the last one. fresh says whether it had an element that was not met before.
func (g page) end(number int, fresh bool) (bool, error) {
	var more bool
	switch {
	case g.last.ok:
		more = int64(number) < g.last.value
	case g.next != nextUnsaid:
		if more = g.next == nextExists; more && !fresh {
			return false, fmt.Errorf("%w: page %d repeats, and is not the last", ErrIncomplete, number)
		}
	default: // it does not say: go on until a page is empty, or repeats
		return !fresh, nil
	}
	if more && len(g.items) == 0 {
		return false, fmt.Errorf("%w: page %d is empty, and not the last", ErrIncomplete, number)
	}
	return !more, nil
}
