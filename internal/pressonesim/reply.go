package pressonesim

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

// PressOne's codes that the simulator answers of its own accord (section 3.2).
const (
	codeCredit       = 11
	codeDisabled     = 23
	codeStock        = 33
	codePackage      = 34
	codeRecycled     = 73
	codeInvalidInput = 4001
	codeRateLimit    = 4004
	codePayment      = 4007
	codeNoToken      = 4009
	codeBadToken     = 4013
	codeTokenExpired = 4014
)

const (
	textInvalid      = "the parameter is invalid"
	textUnauthorized = "This action is unauthorized."
	textNotFound     = "messages.resource_not_found"
)

// reasons words each code, for answers that name none of their own.
var reasons = map[int]string{
	codeCredit:       "Insufficient credit: the account's balance does not cover this order.",
	13:               "The operator is currently undergoing maintenance. Please try again later.",
	14:               "Invalid checksum.",
	codeDisabled:     "Top-ups are disabled by the operator of this eSIM.",
	codeStock:        "Insufficient stock of eSIMs.",
	codePackage:      "The requested eSIM package is invalid or it is currently out of stock. Please try again later.",
	43:               "Bad request.",
	53:               "Something unexpected happened. Please try again later.",
	codeRecycled:     "The eSIM with this ICCID has been recycled. It can neither be used nor topped up.",
	89:               "The calling address is not on the allow-list.",
	codeInvalidInput: "Invalid input: malformed or missing.",
	codeRateLimit:    "Rate limit exceeded.",
	4005:             "Not found.",
	codePayment:      "Payment required: balance or credit is insufficient.",
	4008:             "Bad request.",
	codeNoToken:      "Access token is missing or invalid.",
	4010:             "Validation failed.",
	codeBadToken:     "Invalid access token.",
	codeTokenExpired: "Access token has expired.",
	4033:             "Service temporarily unavailable.",
	5001:             "Internal error.",
}

// statusOf gives the HTTP status that goes with a code.
func statusOf(code int) int {
	switch code {
	case 4001, 4008, 4010:
		return http.StatusBadRequest
	case codeRateLimit:
		return http.StatusTooManyRequests
	case 4005:
		return http.StatusNotFound
	case codePayment:
		return http.StatusPaymentRequired
	case codeNoToken, codeBadToken, codeTokenExpired:
		return http.StatusUnauthorized
	case 89:
		return http.StatusForbidden
	case 4033:
		return http.StatusServiceUnavailable
	case 5001:
		return http.StatusInternalServerError
	}
	return http.StatusUnprocessableEntity
}

// reply is an answer before it is sent. effect tells whether something was
// bought, done or issued for it.
type reply struct {
	status      int
	contentType string
	retryAfter  time.Duration
	location    string
	body        []byte
	effect      bool
}

func (rp *reply) send(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", rp.contentType)
	h.Set("Content-Length", strconv.Itoa(len(rp.body)))
	if rp.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(rp.retryAfter.Seconds()))))
	}
	if rp.location != "" {
		h.Set("Location", rp.location)
	}
	w.WriteHeader(rp.status)
	// The client may have left; nobody is there to be told.
	_, _ = w.Write(rp.body)
}

func jsonReply(status int, v any) *reply {
	body, err := json.Marshal(v)
	if err != nil {
		return htmlReply(http.StatusInternalServerError)
	}
	return &reply{status: status, contentType: "application/json", body: body}
}

// htmlReply is E6: what gateways send, and PressOne itself when Accept is
// missing.
func htmlReply(status int) *reply {
	text := strconv.Itoa(status) + " " + http.StatusText(status)
	page := "<!DOCTYPE html>\n<html><head><title>" + text + "</title></head>\n<body><center><h1>" + text + "</h1></center></body></html>\n"
	return &reply{status: status, contentType: "text/html; charset=UTF-8", body: []byte(page)}
}

// ok answers 200 with data in the usual envelope.
func (c *call) ok(data any) *reply {
	return jsonReply(http.StatusOK, envelope{data, wireMeta{"success"}})
}

// okBare answers 200 with data alone.
func (c *call) okBare(data any) *reply {
	return jsonReply(http.StatusOK, bare{data})
}

// e1 refuses with a code of PressOne's.
func (c *call) e1(status, code int, reason string) *reply {
	return jsonReply(status, map[string]any{"code": c.render.code(code), "reason": reason})
}

// business refuses under a business rule: E1 with the code's own status.
func (c *call) business(code int) *reply {
	return c.e1(statusOf(code), code, reasons[code])
}

// e2 refuses one field. Without an Accept that allows JSON this ends in an HTML
// 500, as observed (section 2).
func (c *call) e2(field, text string) *reply {
	return c.invalid(map[string]string{field: text})
}

func (c *call) invalid(fields map[string]string) *reply {
	if !c.acceptsJSON {
		return htmlReply(http.StatusInternalServerError)
	}
	return jsonReply(c.knobs.ValidationStatus, envelope{fields, wireMeta{textInvalid}})
}

// e3 refuses with an envelope whose data is an empty array.
func (c *call) e3(status int, text string) *reply {
	return jsonReply(status, envelope{[]any{}, wireMeta{text}})
}

func (c *call) notFound() *reply {
	return c.e3(http.StatusNotFound, textNotFound)
}

// tooMany is 429 in the style of the knobs.
func (c *call) tooMany(wait time.Duration) *reply {
	rp := jsonReply(http.StatusTooManyRequests, map[string]string{"message": "Too Many Attempts."})
	if c.knobs.RateLimited == E1 {
		rp = c.business(codeRateLimit)
	}
	if !c.knobs.NoRetryAfter {
		rp.retryAfter = wait
	}
	return rp
}

// faultReply is the answer of the action Status.
func (c *call) faultReply(f *Fault) *reply {
	status := f.Status
	if status == 0 {
		status = statusOf(f.Code)
	}
	var rp *reply
	switch {
	case f.Body != "" || f.ContentType != "":
		rp = &reply{status: status, contentType: f.ContentType, body: []byte(f.Body)}
		orDefault(&rp.contentType, "text/html; charset=UTF-8")
	case f.Code != 0:
		reason := f.Reason
		orDefault(&reason, reasons[f.Code])
		rp = c.e1(status, f.Code, reason)
	case status >= 500 || status < 400:
		rp = htmlReply(status)
	case status == http.StatusTooManyRequests:
		rp = c.tooMany(0)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		rp = c.e3(status, textUnauthorized)
	case status == http.StatusNotFound:
		rp = c.notFound()
	case status == http.StatusBadRequest || status == http.StatusUnprocessableEntity:
		rp = jsonReply(status, envelope{map[string]string{"package_id": "The selected package is invalid."}, wireMeta{textInvalid}})
	default:
		rp = c.e3(status, http.StatusText(status))
	}
	rp.retryAfter = f.RetryAfter
	return rp
}
