package pressonesim

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// paging counts what a list finds, and keeps one page of it.
type paging struct {
	limit, page int
	total       int
}

// paging reads limit and page.
func (c *call) paging(limit int) (*paging, *reply) {
	p := &paging{limit: limit, page: 1}
	fields := make(map[string]string)
	for name, into := range map[string]*int{"limit": &p.limit, "page": &p.page} {
		text := c.query.Get(name)
		if text == "" {
			continue
		}
		n, ok := whole(text)
		switch {
		case !ok:
			fields[name] = "The " + name + " must be an integer."
		case n < 1:
			fields[name] = "The " + name + " must be at least 1."
		default:
			*into = n
		}
	}
	if len(fields) > 0 {
		return nil, c.invalid(fields)
	}
	p.limit = min(p.limit, c.knobs.MaxPageSize)
	p.page = min(p.page, 1<<30)
	return p, nil
}

// count takes note of one more element; it reports whether that is on the page.
func (p *paging) count() bool {
	p.total++
	return p.total > (p.page-1)*p.limit && p.total <= p.page*p.limit
}

// page answers with one page; shown is how many elements data has.
func (c *call) page(p *paging, data any, shown int) *reply {
	scheme := "http"
	if c.secure {
		scheme = "https"
	}
	path := scheme + "://" + c.host + c.path
	at := func(page int) string { return path + "?page=" + strconv.Itoa(page) }
	last := max(1, (p.total+p.limit-1)/p.limit)
	w := wirePage{
		Data:  data,
		Links: wireLinks{First: at(1), Last: at(last)},
		Meta: wirePageMeta{
			Message: "success", CurrentPage: p.page, LastPage: last, Path: path,
			PerPage: c.render.int(p.limit, asString), Total: p.total,
		},
	}
	if p.page > 1 {
		w.Links.Prev = new(at(p.page - 1))
	}
	if p.page < last {
		w.Links.Next = new(at(p.page + 1))
	}
	if shown > 0 {
		from := (p.page-1)*p.limit + 1
		w.Meta.From, w.Meta.To = &from, new(from+shown-1)
	}
	if c.endpoint == Packages {
		w.Pricing = &wirePricing{Model: "net_pricing"}
	}
	return jsonReply(http.StatusOK, w)
}

// dateRange is a filter[created_at]; the zero value contains every time.
type dateRange struct {
	from, to time.Time // to is exclusive
}

// dateRange reads "Y-m-d - Y-m-d", whole days in UTC.
func (c *call) dateRange() (dateRange, *reply) {
	text := c.query.Get("filter[created_at]")
	if text == "" {
		return dateRange{}, nil
	}
	first, last, ok := strings.Cut(text, " - ")
	from, err1 := time.Parse(time.DateOnly, strings.TrimSpace(first))
	to, err2 := time.Parse(time.DateOnly, strings.TrimSpace(last))
	if !ok || err1 != nil || err2 != nil {
		return dateRange{}, c.e2("filter.created_at", "The filter.created at format is invalid.")
	}
	return dateRange{from, to.AddDate(0, 0, 1)}, nil
}

func (d dateRange) contains(t time.Time) bool {
	return d.from.IsZero() || !t.Before(d.from) && t.Before(d.to)
}
