package pressone

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSubmitOrder(t *testing.T) {
	t.Parallel()

	t.Run("sends the documented form, once, in one write, and keeps the answer whole", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(200, orderBody) })
		c := newClient(t, s.url())
		var writes atomic.Int32
		guard := func() error { writes.Add(1); return nil }

		r, err := c.SubmitOrder(t.Context(), guard, anOrder)
		require.NoError(t, err)
		require.Equal(t, int64(9666), r.Order.ID)
		require.Equal(t, 1, r.Order.Quantity)
		require.Equal(t, Decimal("9.5"), r.Order.Price)
		require.Equal(t, anOrder.Description, *r.Order.Description)
		require.Equal(t, time.Date(2023, 2, 27, 14, 9, 55, 0, time.UTC), r.Order.CreatedAt)
		require.Len(t, r.Order.Sims, 1)
		require.True(t, r.Order.Sims[0].Installable())
		require.True(t, bytes.Equal([]byte(orderBody), r.Raw))
		require.Equal(t, 200, r.Status)

		require.Equal(t, int32(1), writes.Load(), "the guard is asked at every write, and there is one")
		got := s.requests()
		require.Len(t, got, 1)
		require.True(t, strings.HasPrefix(got[0], "POST /customer/v2/orders\n"), got[0])
		require.Contains(t, got[0], "Accept: application/json")
		require.Contains(t, got[0], "Authorization: Bearer "+canaryToken+"-1")
		require.Contains(t, got[0], "Content-Type: multipart/form-data; boundary=")
		require.NotContains(t, strings.ToLower(got[0]), "idempotency")
		require.NotContains(t, got[0], "Expect:")
		require.NotContains(t, got[0], "Accept-Encoding")
		for _, field := range [][2]string{{"quantity", "1"}, {"package_id", "change-7days-1gb"}, {"type", "sim"}, {"description", "ref0123456789"}} {
			require.Contains(t, got[0], "name=\""+field[0]+"\"\r\n\r\n"+field[1]+"\r\n")
		}
	})

	t.Run("is one write over TLS too, however long the token is", func(t *testing.T) {
		t.Parallel()
		server, trusting := selfSigned(t)
		s := serveRaw(t, tls.NewListener(listen(t), server), func(int, string) reply { return answerWith(200, orderBody) })
		c := newClient(t, strings.Replace(s.url(), "http:", "https:", 1), func(cfg *Config) {
			cfg.TLS = trusting
			cfg.Tokens = longToken{}
		})
		var writes atomic.Int32
		_, err := c.SubmitOrder(t.Context(), func() error { writes.Add(1); return nil }, anOrder)
		require.NoError(t, err)
		require.Equal(t, int32(1), writes.Load())
	})

	t.Run("is not sent again by net/http when a reused connection dies", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(n int, _ string) reply {
			if n == 1 {
				return answerWith(200, orderBody)
			}
			return reply{close: true} // read whole, and dropped
		})
		c := newClient(t, s.url())
		c.sender.transport.IdleConnTimeout = time.Minute // a busy machine is not to reach it
		_, err := c.SubmitOrder(t.Context(), goAhead, anOrder)
		require.NoError(t, err)
		_, err = c.SubmitOrder(t.Context(), goAhead, anOrder)
		e := requireError(t, err)
		require.Equal(t, Unknown, e.Disposition)
		require.False(t, e.NotSent)
		require.False(t, e.Answered)
		_, conns := s.arrived()
		require.Equal(t, 1, conns, "the connection was reused")
		require.Len(t, s.requests(), 2)
	})

	t.Run("is unknown when the connection is dropped after the request was read", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return reply{close: true} })
		_, err := newClient(t, s.url()).SubmitOrder(t.Context(), goAhead, anOrder)
		e := requireError(t, err)
		require.Equal(t, Unknown, e.Disposition)
		require.False(t, e.NotSent)
		require.Zero(t, e.Status)
		require.Len(t, s.requests(), 1)
	})

	t.Run("is unknown when the answer does not come in time", func(t *testing.T) {
		t.Parallel()
		release, ctx := make(chan struct{}), newOverdue()
		s := serveRaw(t, listen(t), func(int, string) reply { ctx.expire(); <-release; return reply{close: true} })
		defer close(release)
		_, err := newClient(t, s.url()).SubmitOrder(ctx, goAhead, anOrder)
		e := requireError(t, err)
		require.Equal(t, Unknown, e.Disposition)
		require.False(t, e.NotSent)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, s.requests(), 1)
	})

	t.Run("is unknown when the answer is no HTTP, and does not quote it", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return reply{bytes: "CANARY-MATCHING-ID is yours\r\n\r\n", close: true} })
		_, err := newClient(t, s.url()).SubmitOrder(t.Context(), goAhead, anOrder)
		e := requireError(t, err)
		require.Equal(t, Unknown, e.Disposition)
		require.False(t, e.NotSent)
	})

	t.Run("does not follow a redirect", func(t *testing.T) {
		t.Parallel()
		for _, status := range []int{301, 302, 303, 307, 308} {
			var hits atomic.Int32
			base := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
				hits.Add(1)
				w.Header().Set("Location", "/customer/v2/orders")
				w.WriteHeader(status)
			})
			_, err := newClient(t, base).SubmitOrder(t.Context(), goAhead, anOrder)
			e := requireError(t, err)
			require.Equal(t, Unknown, e.Disposition)
			require.Equal(t, status, e.Status)
			require.Equal(t, int32(1), hits.Load())
		}
	})

	t.Run("keeps a success that cannot be understood", func(t *testing.T) {
		t.Parallel()
		for _, body := range []string{
			"", "garbage " + canaryLPA, `{"data":[]}`, `{"data":{"code":"x"}}`, `{"data":{"id":0}}`, `{"data":{"id":-4}}`,
			`{"data":{"id":1.5}}`, `{"data":null}`, `[]`, `{"code":11,"reason":"no"}`, orderBody[:len(orderBody)-1],
		} {
			s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(200, body) })
			_, err := newClient(t, s.url()).SubmitOrder(t.Context(), goAhead, anOrder)
			e := requireError(t, err)
			require.Equal(t, Unknown, e.Disposition, body)
			require.Equal(t, 200, e.Status)
			require.Equal(t, body, string(e.Raw))
			require.False(t, e.Answered)
			require.ErrorIs(t, err, ErrUnreadable)
		}
	})

	t.Run("keeps what came of a success that broke off", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply {
			return reply{bytes: "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + orderBody, close: true}
		})
		_, err := newClient(t, s.url()).SubmitOrder(t.Context(), goAhead, anOrder)
		e := requireError(t, err)
		require.Equal(t, Unknown, e.Disposition)
		require.True(t, bytes.Equal([]byte(orderBody), e.Raw))
	})

	t.Run("does not read an answer without end", func(t *testing.T) {
		t.Parallel()
		base := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
			for chunk := []byte(strings.Repeat("x", 1<<16)); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		})
		_, err := newClient(t, base).SubmitOrder(t.Context(), goAhead, anOrder)
		e := requireError(t, err)
		require.Equal(t, Unknown, e.Disposition)
		require.Len(t, e.Raw, bodyMax)
	})

	// It breaks off exactly where reading stops. That it is as long as it may be does not make it whole.
	t.Run("notices that an answer of just the longest length broke off", func(t *testing.T) {
		t.Parallel()
		body := `{"code":34}` + strings.Repeat(" ", bodyMax-len(`{"code":34}`))
		s := serveRaw(t, listen(t), func(int, string) reply {
			return reply{bytes: fmt.Sprintf("HTTP/1.1 422 X\r\nContent-Length: %d\r\n\r\n%s", bodyMax+1, body), close: true}
		})
		_, err := newClient(t, s.url()).SubmitOrder(t.Context(), goAhead, anOrder)
		require.Equal(t, Unknown, requireError(t, err).Disposition)
	})

	t.Run("takes an order id that is text", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(200, `{"data":{"id":"9666","quantity":2}}`) })
		r, err := newClient(t, s.url()).SubmitOrder(t.Context(), goAhead, anOrder)
		require.NoError(t, err)
		require.Equal(t, int64(9666), r.Order.ID)
		require.Equal(t, 2, r.Order.Quantity)
	})

	t.Run("refuses what could never be found again, or is malformed", func(t *testing.T) {
		t.Parallel()
		c := newClient(t, "http://127.0.0.1:1/v2")
		for _, r := range []OrderRequest{
			{PackageID: "", Quantity: 1, Description: "d"},
			{PackageID: "p", Quantity: 0, Description: "d"},
			{PackageID: "p", Quantity: 51, Description: "d"},
			{PackageID: "p", Quantity: 1, Description: " "},
		} {
			_, err := c.SubmitOrder(t.Context(), goAhead, r)
			e := requireError(t, err)
			require.ErrorIs(t, err, ErrInvalid)
			require.True(t, e.NotSent)
			require.Equal(t, Refused, e.Disposition)
		}
		for _, r := range []TopupRequest{
			{PackageID: "", ICCID: "8944465400000267221", Description: "d"},
			{PackageID: "p", ICCID: "", Description: "d"},
			{PackageID: "p", ICCID: "89../44654000002672", Description: "d"},
			{PackageID: "p", ICCID: "8944465400000267221", Description: ""},
		} {
			_, err := c.SubmitTopup(t.Context(), goAhead, r)
			require.ErrorIs(t, err, ErrInvalid)
			require.True(t, requireError(t, err).NotSent)
		}
		_, err := c.SubmitOrder(t.Context(), nil, anOrder)
		require.ErrorIs(t, err, ErrInvalid)
	})
}

func TestSubmitTopup(t *testing.T) {
	t.Parallel()
	s := serveRaw(t, listen(t), func(int, string) reply {
		return answerWith(200, `{"data":{"id":7,"type":"topup","quantity":1,"price":10,"description":"Topup (8944465400000267221)"}}`)
	})
	r, err := newClient(t, s.url()).SubmitTopup(t.Context(), goAhead, TopupRequest{
		PackageID: "bonbon-topup", ICCID: "8944465400000267221", Description: "ref1",
	})
	require.NoError(t, err)
	require.Equal(t, int64(7), r.Order.ID)
	require.Equal(t, "topup", r.Order.Type)
	require.Empty(t, r.Order.Sims)
	got := s.requests()
	require.Len(t, got, 1)
	require.True(t, strings.HasPrefix(got[0], "POST /customer/v2/orders/topups\n"))
	require.Contains(t, got[0], "name=\"iccid\"\r\n\r\n8944465400000267221\r\n")
	require.NotContains(t, got[0], `name="quantity"`)
}

func TestSubmitRefreshesTheTokenOnce(t *testing.T) {
	t.Parallel()
	const unauthorized = `{"data":[],"meta":{"message":"This action is unauthorized."}}`

	t.Run("and succeeds", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(n int, _ string) reply {
			if n == 1 {
				return answerWith(401, unauthorized)
			}
			return answerWith(200, orderBody)
		})
		tokens := &staticTokens{version: 1}
		var asked atomic.Int32
		_, err := newClient(t, s.url(), func(c *Config) { c.Tokens = tokens }).
			SubmitOrder(t.Context(), func() error { asked.Add(1); return nil }, anOrder)
		require.NoError(t, err)
		require.Equal(t, 1, tokens.rejected)
		require.Equal(t, int32(2), asked.Load(), "the guard is asked again")
		got := s.requests()
		require.Len(t, got, 2)
		require.Contains(t, got[1], canaryToken+"-2")
	})

	t.Run("and gives up on the account at the second", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(401, unauthorized) })
		tokens := &staticTokens{version: 1}
		_, err := newClient(t, s.url(), func(c *Config) { c.Tokens = tokens }).SubmitOrder(t.Context(), goAhead, anOrder)
		e := requireError(t, err)
		require.Equal(t, NotApplied, e.Disposition)
		require.True(t, e.Account)
		require.False(t, e.NotSent)
		require.Len(t, s.requests(), 2)
	})

	// A 401 with an order in it is no definite no.
	t.Run("but not where the 401 shows an order", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(401, orderBody) })
		_, err := newClient(t, s.url()).SubmitOrder(t.Context(), goAhead, anOrder)
		e := requireError(t, err)
		require.Equal(t, Unknown, e.Disposition)
		require.Contains(t, string(e.Raw), `"id":`)
		require.Len(t, s.requests(), 1)
	})

	t.Run("and the guard can stop the second", func(t *testing.T) {
		t.Parallel()
		s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(401, unauthorized) })
		var asked atomic.Int32
		_, err := newClient(t, s.url()).SubmitOrder(t.Context(), func() error {
			if asked.Add(1) > 1 {
				return errors.New("too late")
			}
			return nil
		}, anOrder)
		e := requireError(t, err)
		require.Equal(t, NotApplied, e.Disposition)
		require.Len(t, s.requests(), 1)
	})
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"code":43,"reason":"bad secret ` + canarySecret + ` and token ` + canaryToken + `-1"}`,
		`{"code":43,"reason":"already sold: ` + canaryLPA + `"}`,
		`{"data":{"description":"Bearer ` + canaryToken + `-1"},"meta":{"message":"the parameter is invalid"}}`,
		`{"message":"` + canaryLPA + `"}`,
	} {
		s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(422, body) })
		_, err := newClient(t, s.url()).SubmitOrder(t.Context(), goAhead, anOrder)
		requireError(t, err)
	}
}

// TestConcurrentSubmissions checks that no submission is counted on another's connection.
func TestConcurrentSubmissions(t *testing.T) {
	t.Parallel()
	s := serveRaw(t, listen(t), func(int, string) reply { return answerWith(200, orderBody) })
	c := newClient(t, s.url())
	var wg sync.WaitGroup
	var sent, stopped atomic.Int32
	for i := range 200 {
		wg.Go(func() {
			guard := goAhead
			if i%2 == 1 {
				guard = func() error { return errors.New("no") }
			}
			_, err := c.SubmitOrder(context.WithoutCancel(t.Context()), guard, anOrder)
			switch e, ok := errors.AsType[*Error](err); {
			case err == nil:
				sent.Add(1)
			case ok && e.NotSent:
				stopped.Add(1)
			}
		})
	}
	wg.Wait()
	require.Equal(t, int32(100), sent.Load())
	require.Equal(t, int32(100), stopped.Load())
	require.Len(t, s.requests(), 100)
}
