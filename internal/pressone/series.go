package pressone

import (
	"fmt"
	"net/http"
	"strconv"
)

// expected are the answers that PressOne documents, and those of a gateway before it: a
// status, and the code in its body, if there is one.
var expected = map[int][]int{
	http.StatusOK:                    {0}, // one that cannot be read
	http.StatusBadRequest:            {0, 4001, 4008, 4010},
	http.StatusUnauthorized:          {0, 4009, 4013, 4014},
	http.StatusPaymentRequired:       {0, 4007},
	http.StatusForbidden:             {0, 89},
	http.StatusNotFound:              {0, 4005},
	http.StatusRequestTimeout:        {0},
	http.StatusConflict:              {0},
	http.StatusRequestEntityTooLarge: {0},
	http.StatusUnprocessableEntity:   {11, 13, 14, 23, 33, 34, 43, 53, 73},
	http.StatusTooManyRequests:       {0, 4004},
	http.StatusInternalServerError:   {0, 5001},
	http.StatusBadGateway:            {0},
	http.StatusServiceUnavailable:    {0, 4033},
	http.StatusGatewayTimeout:        {0},
}

// expect creates the series of every answer that is to be expected, at zero. An answer that
// nobody has documented creates its own when it comes.
func (m *Metrics) expect() {
	for _, op := range operations {
		how := read
		if op == OpSubmitOrder || op == OpSubmitTopup {
			how = post
		}
		for status, codes := range expected {
			for _, code := range codes {
				body := ""
				if code != 0 {
					body = fmt.Sprintf(`{"code":%d}`, code)
				}
				e := classify(how, answer{status: status, body: []byte(body)}, nil)
				m.requests.WithLabelValues(string(op), e.Disposition.String(), codeLabel(e))
			}
		}
		// Its fields are refused, in words.
		m.requests.WithLabelValues(string(op), Refused.String(), "http_"+strconv.Itoa(http.StatusUnprocessableEntity))
		for _, d := range []Disposition{Unknown, NotApplied, Refused} { // no answer, nothing sent, a code that nobody knows
			m.requests.WithLabelValues(string(op), d.String(), "")
			m.requests.WithLabelValues(string(op), d.String(), "other")
		}
	}
}
