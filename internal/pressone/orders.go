package pressone

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"
)

// OrderFilter selects orders. The texts match as substrings (SQL LIKE %x%, perhaps without regard to case), so whoever looks
// for one order compares whole values in what comes back. An empty field does not filter; at least one must be set.
type OrderFilter struct {
	Description string
	Code        string
	ICCID       string

	// CreatedFrom and CreatedTo bound the day of creation, both days included; hours are ignored. One alone leaves the other
	// side open.
	CreatedFrom, CreatedTo time.Time

	// Details asks for the orders' eSIMs and status too; without it those fields are absent.
	Details bool
}

// values are the filter as a query; false when it filters nothing.
func (f OrderFilter) values() (url.Values, bool) {
	v := url.Values{}
	set := func(key, value string) {
		if strings.TrimSpace(value) != "" {
			v.Set("filter["+key+"]", value)
		}
	}
	set("description", f.Description)
	set("code", f.Code)
	set("iccid", f.ICCID)
	set("created_at", dayRange(f.CreatedFrom, f.CreatedTo))
	filters := len(v) > 0
	if f.Details {
		v.Set("include", details)
	}
	return v, filters
}

// dayRange is two days as PressOne's filter[created_at] wants them.
func dayRange(from, to time.Time) string {
	if from.IsZero() && to.IsZero() {
		return ""
	}
	if from.IsZero() {
		from = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if to.IsZero() {
		to = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return from.UTC().Format(time.DateOnly) + " - " + to.UTC().Format(time.DateOnly)
}

// details is what an order can include.
const details = "sims,status"

// Orders returns every order that the filter selects. It reads every page: what it returns is complete, or it is an error.
func (c *Client) Orders(ctx context.Context, f OrderFilter) ([]Order, error) {
	return collect(c.AllOrders(ctx, f))
}

// AllOrders yields every order that the filter selects, page by page, each once. An error comes last, and means that the
// orders before it are not all.
func (c *Client) AllOrders(ctx context.Context, f OrderFilter) iter.Seq2[Order, error] {
	values, ok := f.values()
	if !ok { // most likely a look-up that lost its description; it must not read as "these are the orders with it"
		return func(yield func(Order, error) bool) {
			yield(Order{}, invalid(OpListOrders, "filter is empty"))
		}
	}
	return paged(ctx, c, query{op: OpListOrders, path: "/orders", values: values}, decodeOrder)
}

func decodeOrder(raw json.RawMessage) (int64, Order, error) {
	var o Order
	if err := json.Unmarshal(raw, &o); err != nil {
		return 0, Order{}, fmt.Errorf("%w: order in list", ErrUnreadable)
	}
	return o.ID, o, nil
}

// paged reads the pages of q. Every error is an *Error.
func paged[K comparable, T any](
	ctx context.Context, c *Client, q query, decode func(json.RawMessage) (K, T, error),
) iter.Seq2[T, error] {
	l := list[K, T]{decode: decode, fetch: func(ctx context.Context, number int) (page, error) {
		values := maps.Clone(q.values)
		if values == nil {
			values = url.Values{}
		}
		values.Set("limit", strconv.Itoa(pageSize))
		values.Set("page", strconv.Itoa(number))
		one := q
		one.values = values
		a, err := c.get(ctx, one)
		if err != nil {
			return page{}, err
		}
		if age := a.header.Get("Age"); age != "" && age != "0" {
			return page{}, fmt.Errorf("%w: it was kept in a cache", ErrIncomplete) // and what was bought since is not in it
		}
		return readPage(a.body)
	}}
	return func(yield func(T, error) bool) {
		for element, err := range l.all(ctx) {
			if err != nil {
				if _, ok := errors.AsType[*Error](err); !ok {
					err = c.finish(q.op, &Error{Status: 200, Err: err})
				}
			}
			if !yield(element, err) {
				return
			}
		}
	}
}

// collect returns all that a sequence yields, or its error.
func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for element, err := range seq {
		if err != nil {
			return nil, err
		}
		all = append(all, element)
	}
	return all, nil
}

// Order returns one order by its id, with its eSIMs and status.
func (c *Client) Order(ctx context.Context, id int64) (Order, error) {
	if id <= 0 {
		return Order{}, invalid(OpGetOrder, "order id is not positive")
	}
	q := query{
		op: OpGetOrder, path: "/orders/" + strconv.FormatInt(id, 10), oneThing: true,
		values: url.Values{"include": {details}},
	}
	a, err := c.get(ctx, q)
	if err != nil {
		return Order{}, err
	}
	o, err := ReadOrder(a.body)
	switch {
	case err != nil:
		return Order{}, c.finish(q.op, unreadable(a, err))
	case o.ID != id:
		return Order{}, c.finish(q.op, unreadable(a, fmt.Errorf("%w: another order", ErrUnreadable)))
	}
	return o, nil
}
