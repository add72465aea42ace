package pressone

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	json "github.com/go-json-experiment/json/v1"
)

// Package is something that can be bought: an eSIM with data, or a top-up. Of what PressOne says about it this is what matters
// here.
type Package struct {
	ID    string
	Price Decimal
}

// UnmarshalJSON reads it as PressOne writes it. It fails without an id: that is what is ordered.
func (p *Package) UnmarshalJSON(raw []byte) error {
	var wire struct {
		ID    text    `json:"id"`
		Price Decimal `json:"price"`
	}
	if json.Unmarshal(raw, &wire) != nil || wire.ID == "" {
		return fmt.Errorf("%w: package", ErrUnreadable)
	}
	*p = Package{ID: string(wire.ID), Price: wire.Price}
	return nil
}

// Topups returns the top-ups offered for an eSIM now. An empty list means that there are none. PressOne demands that it is
// read anew before each top-up; it is never cached here.
func (c *Client) Topups(ctx context.Context, iccid string) ([]Package, error) {
	path, e := simPath(OpListTopups, iccid, "/topups")
	if e != nil {
		return nil, e
	}
	q := query{op: OpListTopups, path: path, oneThing: true}
	a, err := c.get(ctx, q)
	if err != nil {
		return nil, err
	}
	var env envelope
	list, ok := []json.RawMessage(nil), false
	if decode(a.body, &env) == nil {
		list, ok = elements(env.Data)
	}
	if !ok {
		return nil, c.finish(q.op, unreadable(a, fmt.Errorf("%w: data is not a list", ErrUnreadable)))
	}
	offers := make([]Package, len(list))
	for i, raw := range list {
		if json.Unmarshal(raw, &offers[i]) != nil {
			return nil, c.finish(q.op, unreadable(a, fmt.Errorf("%w: element %d", ErrUnreadable, i)))
		}
	}
	return offers, nil
}

// Packages returns the catalogue with its top-ups: all of it, or an error. PressOne advises to read it once an hour.
func (c *Client) Packages(ctx context.Context) ([]Package, error) {
	q := query{op: OpListPackages, path: "/packages", values: url.Values{"include": {"topup"}}}
	regions, err := collect(paged(ctx, c, q, decodeRegion))
	return slices.Concat(regions...), err
}

// decodeRegion reads what is sold in a country or a group of them, by whatever operator, and what identifies it.
func decodeRegion(raw json.RawMessage) (string, []Package, error) {
	var region struct {
		Slug      text            `json:"slug"`
		Operators json.RawMessage `json:"operators"`
	}
	if json.Unmarshal(raw, &region) != nil || region.Slug == "" {
		return "", nil, fmt.Errorf("%w: region", ErrUnreadable)
	}
	key := []string{string(region.Slug)} // and its operators: a region may go on on the next page, with others
	var all []Package
	operators, _ := elements(region.Operators)
	for _, element := range operators {
		var operator struct {
			ID       text            `json:"id"`
			Packages json.RawMessage `json:"packages"`
		}
		if json.Unmarshal(element, &operator) != nil {
			return "", nil, fmt.Errorf("%w: operator", ErrUnreadable)
		}
		key = append(key, string(operator.ID))
		packages, _ := elements(operator.Packages)
		for _, element := range packages {
			var p Package
			if err := json.Unmarshal(element, &p); err != nil {
				return "", nil, fmt.Errorf("%w: package of an operator", ErrUnreadable)
			}
			all = append(all, p)
		}
	}
	return strings.Join(key, "|"), all, nil
}

// Balance is what the account has left.
type Balance struct {
	Known    bool // false: PressOne shows no balance for this account, as with post-paid ones
	Amount   Decimal
	Currency string
}

// Balance returns the account's balance. PressOne serves it as text/plain; it is JSON.
func (c *Client) Balance(ctx context.Context) (Balance, error) {
	q := query{op: OpGetBalance, path: "/balance"}
	a, err := c.get(ctx, q)
	if err != nil {
		return Balance{}, err
	}
	b, err := readBalance(a.body)
	if err != nil {
		return Balance{}, c.finish(q.op, unreadable(a, err))
	}
	return b, nil
}

// readBalance reads {"data":{"balances":{"availableBalance":{"amount":…,"currency":…}}}}, where data or balances may be an
// empty array when there is no account.
func readBalance(body []byte) (Balance, error) {
	var env envelope
	if decode(body, &env) != nil {
		return Balance{}, ErrUnreadable
	}
	if list, ok := elements(env.Data); ok && len(list) == 0 {
		return Balance{}, nil
	}
	var data struct {
		Balances json.RawMessage `json:"balances"`
	}
	if json.Unmarshal(env.Data, &data) != nil {
		return Balance{}, ErrUnreadable
	}
	if nothing(data.Balances) && len(data.Balances) > 0 {
		return Balance{}, nil
	}
	var balances struct {
		Available struct {
			Amount   Decimal `json:"amount"`
			Currency text    `json:"currency"`
		} `json:"availableBalance"`
	}
	if len(data.Balances) == 0 || json.Unmarshal(data.Balances, &balances) != nil || balances.Available.Amount == "" {
		return Balance{}, fmt.Errorf("%w: no balance", ErrUnreadable)
	}
	return Balance{Known: true, Amount: balances.Available.Amount, Currency: string(balances.Available.Currency)}, nil
}
