package pressone

import (
	"context"
	"net/http"
	"net/url"
)

// query is one read.
type query struct {
	op       Operation
	path     string // escaped
	values   url.Values
	oneThing bool // a 401 may mean that this order or eSIM is not ours
}

// get reads, waiting for the rate limit first, and returns a 2xx answer whose body is whole. On a 401 the token is replaced
// at most once. Every error is an *Error.
func (c *Client) get(ctx context.Context, q query) (answer, error) {
	if err := c.limiter.Wait(ctx); err != nil {
		return answer{}, &Error{Operation: q.op, Disposition: NotApplied, NotSent: true, Err: err}
	}
	token, err := c.tokens.Token(ctx)
	if err != nil {
		return answer{}, tokenError(err)
	}
	a, e := c.getOnce(ctx, q, token)
	if e == nil {
		c.refused.worked(token)
		return a, nil
	}
	if e.Status != http.StatusUnauthorized {
		return answer{}, e
	}
	if c.refused.allow(token, q.oneThing && e.Code == "") {
		if err := c.tokens.Reject(ctx, token); err != nil {
			return answer{}, tokenError(err)
		}
		if token, err = c.tokens.Token(ctx); err != nil {
			return answer{}, tokenError(err)
		}
		if a, e = c.getOnce(ctx, q, token); e == nil {
			c.refused.worked(token)
			return a, nil
		}
	}
	if e.Status == http.StatusUnauthorized && q.oneThing && e.Code == "" {
		// A token that is new, or was good a moment ago, was refused for this one order or eSIM, without a code: that is how
		// PressOne says "not yours". It must not close the gate for all.
		e.Account = false
	}
	return answer{}, e
}

func (c *Client) getOnce(ctx context.Context, q query, token Token) (a answer, e *Error) {
	ctx, call := c.begin(ctx, q.op)
	defer func() {
		if e != nil {
			e = c.finish(q.op, e, string(token.Value))
		}
		call.end(e, a.status)
	}()
	path := q.path
	if len(q.values) > 0 {
		path += "?" + q.values.Encode()
	}
	req, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return answer{}, &Error{Disposition: NotApplied, NotSent: true, Err: err}
	}
	req.Header.Set("Authorization", "Bearer "+string(token.Value))
	req.Header.Set("Cache-Control", "no-cache") // what is read decides whether something is bought again
	if a, e = c.exchange(req, listMax); e != nil {
		return answer{}, e
	}
	if a.status < 200 || a.status > 299 || a.cut != nil {
		return answer{}, classify(read, a, c.noEffect)
	}
	return a, nil
}
