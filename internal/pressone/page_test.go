package pressone

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"github.com/stretchr/testify/require"
)

// servePages serves GET /orders with what render says for a page.
func servePages(tb testing.TB, render func(page int) string) (string, *atomic.Int32) {
	tb.Helper()
	var requests atomic.Int32
	return serveHTTP(tb, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		n, _ := strconv.Atoi(r.URL.Query().Get("page"))
		_, _ = fmt.Fprint(w, render(n))
	}), &requests
}

// ids renders elements of a list.
func ids(from, to int) string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprintf(`{"id":%d,"quantity":1,"price":"9.50"}`, i))
	}
	return "[" + strings.Join(out, ",") + "]"
}

func listPage(data string, current, last, total int) string {
	return fmt.Sprintf(`{"data":%s,"links":{"next":null},"meta":{"current_page":%d,"last_page":%d,"per_page":"3","total":%d}}`, data, current, last, total)
}

func TestOrders(t *testing.T) {
	t.Parallel()
	complete := map[string]struct {
		render   func(page int) string
		want     int
		requests int
	}{
		"an empty list": {func(int) string { return listPage("[]", 1, 1, 0) }, 0, 1},
		"one page":      {func(int) string { return listPage(ids(1, 3), 1, 1, 3) }, 3, 1},
		"several pages": {func(p int) string { return listPage(ids(p*3-2, min(p*3, 8)), p, 3, 8) }, 8, 3},
		"numbers as text": {func(p int) string {
			return fmt.Sprintf(`{"data":%s,"meta":{"current_page":"%d","last_page":"2","total":"6"}}`, ids(p*3-2, p*3), p)
		}, 6, 2},
		"page 2 as an object keyed by index": {func(p int) string {
			if p == 1 {
				return listPage(ids(1, 3), 1, 2, 5)
			}
			return listPage(`{"10":{"id":5},"3":{"id":4}}`, 2, 2, 5)
		}, 5, 2},
		"the last page moves away while it is read": {func(p int) string {
			return listPage(ids(p*3-2, p*3), p, min(2+p, 5), min(2+p, 5)*3)
		}, 15, 5},
		"no paging information, until a page is empty": {func(p int) string {
			if p > 3 {
				return `{"data":[]}`
			}
			return `{"data":` + ids(p*3-2, p*3) + `}`
		}, 9, 4},
		"no paging information, until a page repeats": {func(int) string { return `{"data":` + ids(1, 3) + `,"meta":[]}` }, 3, 4},
		"links only": {func(p int) string {
			next := "null"
			if p < 3 {
				next = `"https://host/orders?page=9"`
			}
			return `{"data":` + ids(p*3-2, p*3) + `,"links":{"next":` + next + `}}`
		}, 9, 3},
	}
	for name, tt := range complete {
		t.Run("reads "+name, func(t *testing.T) {
			t.Parallel()
			base, requests := servePages(t, tt.render)
			got, err := newClient(t, base).Orders(t.Context(), OrderFilter{Description: "x"})
			require.NoError(t, err)
			require.Len(t, got, tt.want)
			require.Equal(t, int32(tt.requests), requests.Load())
			seen := map[int64]bool{}
			for _, o := range got {
				require.False(t, seen[o.ID])
				seen[o.ID] = true
			}
		})
	}

	incomplete := map[string]func(page int) string{
		"a total that lies":               func(int) string { return listPage(ids(1, 3), 1, 1, 500) },
		"a page that is another":          func(int) string { return listPage(ids(1, 3), 1, 3, 9) },
		"an empty page in the middle":     func(p int) string { return listPage("[]", p, 3, 9) },
		"data that is null":               func(int) string { return `{"data":null,"meta":{"current_page":1,"last_page":1,"total":0}}` },
		"data that is missing":            func(int) string { return `{"meta":{"current_page":1,"last_page":1,"total":0}}` },
		"data that is text":               func(int) string { return `{"data":"x"}` },
		"data that is about fields":       func(int) string { return `{"data":{"limit":"The limit must be an integer."}}` },
		"data that is an empty object":    func(int) string { return `{"data":{}}` },
		"an error with a success status":  func(int) string { return `{"code":5001,"data":[]}` },
		"a page that is no JSON":          func(int) string { return `<html>` },
		"half a page":                     func(int) string { return `{"data":[{"id":1}` },
		"a last page that is unreadable":  func(int) string { return `{"data":[],"meta":{"last_page":"many"}}` },
		"a total that is negative":        func(int) string { return `{"data":[],"meta":{"total":-1}}` },
		"an order without an id":          func(int) string { return listPage(`[{"code":"x"}]`, 1, 1, 1) },
		"an order that is no order":       func(int) string { return listPage(`[7]`, 1, 1, 1) },
		"links that go round in a circle": func(int) string { return `{"data":` + ids(1, 3) + `,"links":{"next":"x"}}` },
		"nothing":                         func(int) string { return "" },
	}
	for name, render := range incomplete {
		t.Run("does not take for complete "+name, func(t *testing.T) {
			t.Parallel()
			base, _ := servePages(t, render)
			got, err := newClient(t, base).Orders(t.Context(), OrderFilter{Description: "x"})
			e := requireError(t, err)
			require.Nil(t, got)
			require.Equal(t, OpListOrders, e.Operation)
			require.Equal(t, Unknown, e.Disposition)
		})
	}

	t.Run("reads a list again that grows while it is read", func(t *testing.T) {
		t.Parallel()
		// Newest first. When page 2 is asked for the first time an order arrives and pushes another onto it.
		newest := 6
		base, requests := servePages(t, func(p int) string {
			if p == 2 && newest == 6 {
				newest = 7
			}
			var data []string
			for i := newest - (p-1)*3; i > max(0, newest-p*3); i-- {
				data = append(data, fmt.Sprintf(`{"id":%d}`, i))
			}
			return listPage("["+strings.Join(data, ",")+"]", p, (newest+2)/3, newest)
		})
		got, err := newClient(t, base).Orders(t.Context(), OrderFilter{Description: "x"})
		require.NoError(t, err)
		require.Len(t, got, 7)
		require.Equal(t, int32(6), requests.Load(), "three pages, twice")
	})

	t.Run("ends although the list never stops growing", func(t *testing.T) {
		t.Parallel()
		newest := 6
		base, _ := servePages(t, func(p int) string {
			if p == 2 {
				newest++
			}
			var data []string
			for i := newest - (p-1)*3; i > max(0, newest-p*3); i-- {
				data = append(data, fmt.Sprintf(`{"id":%d}`, i))
			}
			return listPage("["+strings.Join(data, ",")+"]", p, (newest+2)/3, newest)
		})
		got, err := newClient(t, base).Orders(t.Context(), OrderFilter{Description: "x"})
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(got), 7, "everything that was there when the second pass began")
	})

	t.Run("reads a list again that shrank, and misses nothing", func(t *testing.T) {
		t.Parallel()
		// Order 6 disappears between the pages, so that 3 slips from page 2 onto page 1, behind the reader's back.
		list := []int{6, 5, 4, 3, 2, 1}
		base, _ := servePages(t, func(p int) string {
			if p == 2 {
				list = []int{5, 4, 3, 2, 1}
			}
			var data []string
			for i := (p - 1) * 3; i < min(p*3, len(list)); i++ {
				data = append(data, fmt.Sprintf(`{"id":%d}`, list[i]))
			}
			return listPage("["+strings.Join(data, ",")+"]", p, 2, len(list))
		})
		got, err := newClient(t, base).Orders(t.Context(), OrderFilter{Description: "x"})
		require.NoError(t, err)
		found := false
		for _, o := range got {
			found = found || o.ID == 3
		}
		require.True(t, found)
	})

	t.Run("asks for what the filter says", func(t *testing.T) {
		t.Parallel()
		queries := make(chan url.Values, 1)
		base := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			queries <- r.URL.Query()
			_, _ = fmt.Fprint(w, listPage("[]", 1, 1, 0))
		})
		_, err := newClient(t, base).Orders(t.Context(), OrderFilter{
			Description: "ref&x=1", ICCID: "8944", Code: "2023",
			CreatedFrom: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), CreatedTo: time.Date(2026, 1, 3, 23, 30, 0, 0, time.FixedZone("", -3600)),
			Details: true,
		})
		require.NoError(t, err)
		require.Equal(t, url.Values{
			"filter[description]": {"ref&x=1"}, "filter[iccid]": {"8944"}, "filter[code]": {"2023"},
			"filter[created_at]": {"2026-01-02 - 2026-01-04"}, "include": {"sims,status"}, "limit": {"100"}, "page": {"1"},
		}, <-queries)
	})

	t.Run("refuses a filter that filters nothing", func(t *testing.T) {
		t.Parallel()
		_, err := newClient(t, "http://127.0.0.1:1/v2").Orders(t.Context(), OrderFilter{Description: " ", Details: true})
		require.ErrorIs(t, err, ErrInvalid)
		require.True(t, requireError(t, err).NotSent)
	})

	t.Run("stops reading when the caller does", func(t *testing.T) {
		t.Parallel()
		base, requests := servePages(t, func(p int) string { return listPage(ids(p*3-2, p*3), p, 9, 27) })
		for o, err := range newClient(t, base).AllOrders(t.Context(), OrderFilter{Description: "x"}) {
			require.NoError(t, err)
			if o.ID == 4 {
				break
			}
		}
		require.Equal(t, int32(2), requests.Load())
	})

	t.Run("is an error when a page is refused", func(t *testing.T) {
		t.Parallel()
		base := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("page") == "2" {
				w.WriteHeader(503)
				return
			}
			_, _ = fmt.Fprint(w, listPage(ids(1, 3), 1, 2, 6))
		})
		_, err := newClient(t, base).Orders(t.Context(), OrderFilter{Description: "x"})
		require.Equal(t, 503, requireError(t, err).Status)
	})
}

func TestPagesAreBounded(t *testing.T) {
	t.Parallel()
	p := pass[int64, Order]{seen: map[int64]struct{}{}, met: map[int64]struct{}{}}
	next := 0
	p.fetch = func(context.Context, int) (page, error) {
		next++
		return page{items: []json.RawMessage{json.RawMessage(fmt.Sprintf(`{"id":%d}`, next))}}, nil
	}
	p.decode = decodeOrder
	_, err := p.run(t.Context(), func(Order, error) bool { return true })
	require.ErrorIs(t, err, ErrIncomplete)
	require.Equal(t, pagesMax, next)
}

// Something between PressOne and us keeps answers. It is told not to, and what it has kept proves nothing: the order may have
// been made since.
func TestAListFromACache(t *testing.T) {
	t.Parallel()
	var asked atomic.Pointer[http.Request]
	base := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r)
		w.Header().Set("Age", r.URL.Query().Get("filter[description]"))
		_, _ = fmt.Fprint(w, `{"data":[],"meta":{"total":0,"last_page":1}}`)
	})
	c := newClient(t, base)
	_, err := c.Orders(t.Context(), OrderFilter{Description: "0"})
	require.NoError(t, err)
	require.Equal(t, "no-cache", asked.Load().Header.Get("Cache-Control"))
	_, err = c.Orders(t.Context(), OrderFilter{Description: "31"})
	require.ErrorIs(t, err, ErrIncomplete)
}
