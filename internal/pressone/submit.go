package pressone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
)

// OrderRequest is an order of eSIMs.
type OrderRequest struct {
	PackageID   string
	Quantity    int    // 1–50
	Description string // the only handle by which the order can be found again: never empty
}

// TopupRequest is an order of a top-up for one eSIM.
type TopupRequest struct {
	PackageID   string
	ICCID       string // 18–22 digits
	Description string // may be replaced by PressOne; never empty
}

// Receipt is PressOne's answer to a submission that it accepted.
type Receipt struct {
	Order  Order
	Raw    []byte // the whole body; holds activation codes: to be stored encrypted, never printed
	Status int
}

// Format prints the order's id whatever the verb.
func (r Receipt) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "Receipt(order %d)", r.Order.ID) }

// QuantityMax is the most eSIMs that one order can have.
const QuantityMax = 50

// SubmitOrder orders eSIMs, once, and charges for them. It does not wait for the rate limit. ctx must live as long as the
// submission may: cancelling it does not undo what was sent. An error is always an *Error.
func (c *Client) SubmitOrder(ctx context.Context, guard Guard, r OrderRequest) (Receipt, error) {
	const op = OpSubmitOrder
	switch {
	case strings.TrimSpace(r.PackageID) == "":
		return Receipt{}, invalid(op, "package id is empty")
	case r.Quantity < 1 || r.Quantity > QuantityMax:
		return Receipt{}, invalid(op, "quantity is not between 1 and 50")
	case strings.TrimSpace(r.Description) == "":
		return Receipt{}, invalid(op, "description is empty")
	}
	return c.submit(ctx, op, guard, "/orders", [][2]string{
		{"quantity", strconv.Itoa(r.Quantity)},
		{"package_id", r.PackageID},
		{"type", "sim"},
		{"description", r.Description},
	})
}

// SubmitTopup orders a top-up, once, and charges for it. As SubmitOrder otherwise.
func (c *Client) SubmitTopup(ctx context.Context, guard Guard, r TopupRequest) (Receipt, error) {
	const op = OpSubmitTopup
	switch {
	case strings.TrimSpace(r.PackageID) == "":
		return Receipt{}, invalid(op, "package id is empty")
	case !isICCID(r.ICCID):
		return Receipt{}, invalid(op, "iccid is not 18–22 digits")
	case strings.TrimSpace(r.Description) == "":
		return Receipt{}, invalid(op, "description is empty")
	}
	return c.submit(ctx, op, guard, "/orders/topups", [][2]string{
		{"package_id", r.PackageID},
		{"iccid", r.ICCID},
		{"description", r.Description},
	})
}

// Authorize gets an access token, if there is none that can be used. While there is one it asks nobody.
func (c *Client) Authorize(ctx context.Context) error {
	if _, err := c.tokens.Token(ctx); err != nil {
		return tokenError(err)
	}
	return nil
}

// submit posts the form, and once more with a new token when the first answer is a 401: that one had no effect.
func (c *Client) submit(ctx context.Context, op Operation, guard Guard, path string, fields [][2]string) (Receipt, error) {
	if guard == nil {
		return Receipt{}, invalid(op, "no guard")
	}
	token, err := c.tokens.Token(ctx)
	if err != nil {
		return Receipt{}, tokenError(err)
	}
	receipt, e := c.submitOnce(ctx, op, guard, token, path, fields)
	if e == nil {
		return receipt, nil
	}
	if e.Status != http.StatusUnauthorized || e.Disposition != NotApplied {
		return receipt, e
	}
	// A token that cannot be replaced leaves the 401 as the answer, unless getting one says more.
	if err := c.tokens.Reject(ctx, token); err != nil {
		return receipt, withoutAttempt(tokenError(err))
	}
	next, err := c.tokens.Token(ctx)
	if err != nil {
		return receipt, withoutAttempt(tokenError(err))
	}
	receipt, e = c.submitOnce(ctx, op, guard, next, path, fields)
	if e != nil {
		return receipt, e
	}
	return receipt, nil
}

// withoutAttempt says of a token error that it came after a submission that was answered with 401.
func withoutAttempt(e *Error) *Error {
	e.NotSent = false
	return e
}

func (c *Client) submitOnce(
	ctx context.Context, op Operation, guard Guard, token Token, path string, fields [][2]string,
) (receipt Receipt, e *Error) {
	ctx, call := c.begin(ctx, op)
	defer func() {
		if e != nil {
			e = c.finish(op, e, string(token.Value))
		}
		call.end(e, receipt.Status)
	}()
	req, err := c.form(ctx, path, fields)
	if err != nil {
		return Receipt{}, &Error{Disposition: NotApplied, NotSent: true, Err: err}
	}
	req.Header.Set("Authorization", "Bearer "+string(token.Value))
	a, e := c.sender.do(ctx, guard, req)
	if e != nil {
		return Receipt{}, e
	}
	if a.cut == nil && a.status >= 200 && a.status <= 299 {
		order, err := ReadOrder(a.body)
		if err == nil {
			return Receipt{Order: order, Raw: a.body, Status: a.status}, nil
		}
		e := classify(post, a, c.noEffect)
		e.Err = err
		return Receipt{}, e
	}
	return Receipt{}, classify(post, a, c.noEffect)
}

// form builds a POST of multipart/form-data, which is how PressOne documents its POSTs.
func (p *endpoint) form(ctx context.Context, path string, fields [][2]string) (*http.Request, error) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, f := range fields {
		if err := w.WriteField(f[0], f[1]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	req, err := p.request(ctx, http.MethodPost, path, &body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.GetBody = nil
	return req, nil
}

// tokenError is a failure to get a token, as the caller of another operation sees it: nothing of that was sent.
func tokenError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		c := *e
		c.Disposition, c.NotSent = NotApplied, true
		return &c
	}
	return &Error{Operation: OpToken, Disposition: NotApplied, NotSent: true, Err: err}
}
