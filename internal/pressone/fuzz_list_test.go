package pressone

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	json "github.com/go-json-experiment/json/v1"

	"github.com/stretchr/testify/require"
)

// inMemory answers reads without a network.
type inMemory func(r *http.Request) (status int, body string)

// RoundTrip implements http.RoundTripper.
func (f inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// reading is a client whose reads are answered by f.
func reading(tb testing.TB, f inMemory) *Client {
	tb.Helper()
	c := newClient(tb, "http://127.0.0.1:1/customer/v2")
	c.client = &http.Client{Transport: f, CheckRedirect: noRedirects}
	return c
}

// requireFit requires of an error what the history, the dead letters and the logs need: it can be stored by Postgres, it is
// short and it holds no secret.
func requireFit(tb testing.TB, err error) *Error {
	tb.Helper()
	e := requireError(tb, err)
	for _, text := range append([]string{err.Error(), e.Reason, e.Code, e.DeadLetterCode()}, e.Fields...) {
		require.True(tb, utf8.ValidString(text), "%q", text)
		require.NotContains(tb, text, "\x00")
		require.NotContains(tb, strings.ToLower(text), "lpa:1")
		require.LessOrEqual(tb, utf8.RuneCountInString(text), 20*reasonMax+200)
	}
	return e
}

// FuzzPages has a provider that answers each page with whatever it likes: contradictory numbers, the same page for ever,
// links that go round. If the list is believed, then a page said that it was the last, every page up to it was read and
// understood, and every element of them was returned, once.
func FuzzPages(f *testing.F) {
	const separator = "\x1e"
	for _, seed := range [][]string{
		{listPage(ids(1, 3), 1, 2, 5), listPage(ids(4, 5), 2, 2, 5)},
		{listPage(ids(1, 3), 1, 1, 500)},
		{listPage(ids(1, 3), 1, 3, 9), listPage("[]", 2, 3, 9), listPage(ids(4, 6), 3, 3, 9)},
		{`{"data":` + ids(1, 3) + `,"links":{"next":"x"}}`},
		{`{"data":` + ids(1, 3) + `,"links":{"next":"x"}}`, `{"data":` + ids(4, 6) + `,"links":{"next":null}}`},
		{`{"data":[{"id":1}]}`, `{"data":[{"id":2}]}`, `{"data":[]}`},
		{`{"data":{"1":{"id":1},"0":{"id":2}},"meta":{"last_page":"1","total":"2"}}`},
		{listPage(ids(1, 3), 1, 2, 6), listPage(ids(3, 5), 2, 2, 6)},
		{listPage(ids(1, 3), 1, 2, 6), listPage(ids(5, 6), 2, 2, 5), listPage(ids(1, 3), 1, 2, 6), listPage(ids(4, 6), 2, 2, 6)},
		{listPage(ids(1, 2), 1, 9223372036854775807, 2)},
		{`{"data":[{"id":1},{"id":1}],"meta":{"current_page":1,"last_page":1,"total":2}}`},
	} {
		f.Add([]byte(strings.Join(seed, separator)))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		bodies := bytes.Split(script, []byte(separator))
		// One answer after the other; the last one for ever. A pass begins whenever page 1 is asked for.
		var passes [][]page
		asked := 0
		c := reading(t, func(r *http.Request) (int, string) {
			number, err := strconv.Atoi(r.URL.Query().Get("page"))
			require.NoError(t, err)
			body := bodies[min(asked, len(bodies)-1)]
			if asked++; asked > 50+len(bodies) {
				return http.StatusServiceUnavailable, "" // endless; that there is an end is tested elsewhere
			}
			if number == 1 {
				passes = append(passes, nil)
			}
			last := &passes[len(passes)-1]
			require.Equal(t, len(*last)+1, number, "one page after the other")
			p, err := readPage(body)
			if err != nil {
				p = page{current: integer{value: -1, ok: true}} // it may not be believed
			}
			*last = append(*last, p)
			return http.StatusOK, string(body)
		})
		orders, err := c.Orders(t.Context(), OrderFilter{Description: "x"})
		if err != nil {
			e := requireFit(t, err)
			require.Empty(t, orders)
			require.Equal(t, Unknown, e.Disposition, "a list that was not read says nothing")
			return
		}
		have := map[int64]int{}
		for _, o := range orders {
			have[o.ID]++
			require.Equal(t, 1, have[o.ID], "each once")
		}
		require.LessOrEqual(t, len(passes), passesMax)
		for _, pages := range passes {
			for i, p := range pages {
				require.True(t, !p.current.ok || p.current.value == int64(i+1), "page %d of a list that was believed", i+1)
				for _, item := range p.items {
					id, _, err := decodeOrder(item)
					require.NoError(t, err)
					require.Equal(t, 1, have[id], "order %d was read and is missing", id)
				}
			}
		}
		last := passes[len(passes)-1]
		end := last[len(last)-1]
		if end.last.ok {
			require.LessOrEqual(t, end.last.value, int64(len(last)), "the last page was read")
		} else {
			require.NotEqual(t, nextExists, end.next, "there was another page")
		}
		if end.total.ok && len(passes) == 1 {
			require.GreaterOrEqual(t, int64(len(orders)), end.total.value, "there were more")
		}
	})
}

// FuzzMovingList has a provider that tells the truth, in any of the ways of numbering pages, about a list that changes
// between any two pages: orders arrive at its front, and disappear. If the list is believed, then every order is in it that
// was there from the first request to the last. That is what a look-up concludes absence from.
func FuzzMovingList(f *testing.F) {
	f.Add(uint8(0), uint8(8), uint8(3), []byte{})
	f.Add(uint8(0), uint8(9), uint8(3), []byte{1, 0, 1, 0, 1, 0, 1, 0})
	f.Add(uint8(1), uint8(9), uint8(1), []byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1})
	f.Add(uint8(0), uint8(7), uint8(2), []byte{0x81, 0, 0x82, 0x80, 1, 0x83})
	f.Add(uint8(2), uint8(6), uint8(3), []byte{0, 1, 0, 1})
	f.Add(uint8(3), uint8(0), uint8(1), []byte{0, 0, 1})
	f.Add(uint8(0), uint8(6), uint8(2), []byte{0, 0x81, 1, 0, 0x85, 1})
	f.Fuzz(func(t *testing.T, way, size, pageOf uint8, moves []byte) {
		perPage := 1 + int(pageOf%7)
		var list []int64 // newest first
		newest := int64(0)
		arrive := func() { newest++; list = append([]int64{newest}, list...) }
		for range size % 40 {
			arrive()
		}
		throughout := map[int64]bool{}
		for _, id := range list {
			throughout[id] = true
		}
		asked := 0
		c := reading(t, func(r *http.Request) (int, string) {
			if asked > 0 && asked <= len(moves) {
				switch move := moves[asked-1]; {
				case move&0x80 == 0: // so many arrive
					for range move % 4 {
						arrive()
					}
				case way%4 < 2 && len(list) > 0: // one disappears; whoever shows no total cannot be found out
					i := int(move&0x7f) % len(list)
					delete(throughout, list[i])
					list = append(list[:i:i], list[i+1:]...)
				}
			}
			asked++
			number, err := strconv.Atoi(r.URL.Query().Get("page"))
			require.NoError(t, err)
			return http.StatusOK, rendered(way, list, number, perPage)
		})
		orders, err := c.Orders(t.Context(), OrderFilter{Description: "x"})
		if err != nil {
			requireFit(t, err)
			return
		}
		for _, o := range orders {
			delete(throughout, o.ID)
		}
		require.Empty(t, throughout, "missed, of a list that was believed after %d requests", asked)
	})
}

// rendered is a page of a list in one of four ways: as documented, with numbers as text and lists as objects, with links
// alone, with nothing but data.
func rendered(way uint8, list []int64, number, perPage int) string {
	from := min((number-1)*perPage, len(list))
	shown := list[from:min(from+perPage, len(list))]
	last := max(1, (len(list)+perPage-1)/perPage)
	var array, object []string
	for i, id := range shown {
		array = append(array, fmt.Sprintf(`{"id":%d}`, id))
		object = append(object, fmt.Sprintf(`"%d":{"id":"%d"}`, from+i, id))
	}
	data := "[" + strings.Join(array, ",") + "]"
	next := "null"
	if number < last {
		next = `"https://host/orders?page=` + strconv.Itoa(number+1) + `"`
	}
	switch way % 4 {
	case 0:
		return fmt.Sprintf(`{"data":%s,"links":{"next":%s},"meta":{"current_page":%d,"last_page":%d,"total":%d}}`, data, next, number, last, len(list))
	case 1:
		return fmt.Sprintf(`{"data":{%s},"meta":{"current_page":"%d","last_page":"%d","total":"%d"}}`, strings.Join(object, ","), number, last, len(list))
	case 2:
		return fmt.Sprintf(`{"data":%s,"links":{"next":%s}}`, data, next)
	}
	return fmt.Sprintf(`{"data":%s}`, data)
}

// FuzzReads reads bytes as every other answer there is. What is returned was really there; what cannot be read is an error
// that says nothing about money and quotes nothing; and nothing prints what an eSIM can be installed with.
func FuzzReads(f *testing.F) {
	const iccid = "8944465400000267221"
	for _, seed := range []string{
		`{"data":{"iccid":"` + iccid + `","lpa":"lpa.airalo.com","matching_id":"CANARY-MATCHING-ID","qrcode":"` + canaryLPA + `","recycled":false,"recycled_at":null},"meta":{"message":"success"}}`,
		`{"data":{"remaining":767,"total":2048,"expired_at":"2022-01-01 00:00:00","is_unlimited":true,"status":"ACTIVE","remaining_voice":0}}`,
		`{"data":{"remaining":0,"total":0,"expired_at":null,"is_unlimited":null,"status":"RECYCLED"}}`,
		`{"data":[{"id":1,"status":"ACTIVE","remaining":100,"activated_at":"2023-02-27T14:09:55+00:00","package":{"id":"p","type":"sim","price":10,"day":7}}]}`,
		`{"data":[{"id":"p-topup","type":"topup","price":4.5,"amount":1024,"day":7,"is_unlimited":false,"title":"1 GB","data":"1 GB","short_info":null}]}`,
		`{"data":{"balances":{"name":"balance","availableBalance":{"amount":"10.50","currency":"USD"}}}}`, `{"data":[]}`, `{"data":{"balances":[]}}`,
		`{"data":{"instructions":{"language":"EN","ios":[{"model":null,"version":"15.0","installation_via_qr_code":{"steps":{"1":"a","2":"b"},"qr_code_data":"` + canaryLPA + `"}}],"android":[]}}}`,
		`{"data":[{"slug":"us","country_code":"US","operators":[{"id":1,"title":"t","packages":[{"id":"p","price":"1.00"}]}]}],"meta":{"last_page":1}}`,
		`{"data":[{"os":"android","brand":"b","name":"n"},{"os":"android","brand":"b","name":"n"}]}`,
		`{"data":[],"meta":{"message":"messages.resource_not_found"}}`, `{"code":73,"reason":"recycled"}`, `<html>`, `null`, ``,
	} {
		for _, status := range []int{200, 404, 500} {
			f.Add(status, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		status = 200 + (status%400+400)%400
		body = recognisable(body)
		c := reading(t, func(*http.Request) (int, string) { return status, string(body) })
		c.refused.allow(Token{}, false) // a 401 is not followed by a new token
		whole := json.Valid(body)
		check := func(value any, err error) {
			t.Helper()
			if err != nil {
				e := requireFit(t, err)
				require.Empty(t, e.Raw, "that of a read is not kept")
				return
			}
			require.True(t, whole && status < 300, "%d %q was read", status, body)
			shown := fmt.Sprintf("%v %+v %s", value, value, value)
			require.NotContains(t, shown, "CANARY-MATCHING-ID")
		}
		sim, err := c.Sim(t.Context(), iccid)
		check(sim, err)
		if err == nil {
			require.Equal(t, iccid, sim.ICCID)
			raw, err := json.Marshal(sim.Reveal())
			require.NoError(t, err)
			var back Sim
			require.NoError(t, json.Unmarshal(raw, &back))
			require.Equal(t, sim, back, "what is stored is what was read")
		}
		o, err := c.Order(t.Context(), 9666)
		check(o, err)
		require.True(t, err != nil || o.ID == 9666)
		topups, err := c.Topups(t.Context(), iccid)
		check(topups, err)
		for _, p := range topups {
			require.NotEmpty(t, p.ID)
		}
		balance, err := c.Balance(t.Context())
		check(balance, err)
		if balance.Known {
			_, ok := balance.Amount.Rat()
			require.True(t, ok)
		}
		packages, err := c.Packages(t.Context())
		check(packages, err)
	})
}
