package pressonesim

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody is the largest request that is read; more is 413.
const maxBody = 1 << 20

// call is one request on its way through the simulator.
type call struct {
	endpoint      Endpoint
	id            string // order id or ICCID in the path
	query         url.Values
	form          form
	authorization string
	acceptsJSON   bool
	language      string
	host, path    string
	uri           string
	secure        bool
	knobs         *Knobs // as they were when the call came in
	now           time.Time
	render        *renderer
}

// Handler serves the API below the configured prefix, and the admin endpoints
// below /_sim/. Hanging and slow calls end with the request's context.
func (s *Sim) Handler() http.Handler {
	admin := s.adminHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_sim") {
			admin.ServeHTTP(w, r)
			return
		}
		s.serve(w, r)
	})
}

// serve is one call from first byte to last: read it whole, let it in, spoil it
// before its effect, carry it out, spoil it after, answer.
func (s *Sim) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		htmlReply(http.StatusRequestEntityTooLarge).send(w)
		return
	}
	if err != nil {
		drop(w) // the client broke off; there was no request
		return
	}
	c := s.newCall(r)
	path, ok := strings.CutPrefix(r.URL.Path, s.cfg.Prefix+"/")
	known := false
	if ok {
		c.endpoint, c.id, known = route(r.Method, path)
	}
	if c.endpoint == Any {
		rp := c.notFound()
		if known {
			rp = jsonReply(http.StatusMethodNotAllowed, map[string]string{"message": "The " + r.Method + " method is not supported for this route."})
		}
		rp.send(w)
		return
	}
	var formErr error
	if r.Method == http.MethodPost {
		c.form, formErr = parseForm(r.Header.Get("Content-Type"), body)
	}
	s.counts.add(c.endpoint, c.about())
	if rp := s.admit(c); rp != nil {
		rp.send(w)
		return
	}
	if formErr != nil {
		c.business(codeInvalidInput).send(w)
		return
	}
	s.carryOut(w, r, c)
}

func (s *Sim) newCall(r *http.Request) *call {
	k := s.knobs.Load()
	accept := r.Header.Get("Accept")
	return &call{
		query:         r.URL.Query(),
		authorization: r.Header.Get("Authorization"),
		acceptsJSON:   strings.Contains(accept, "json") || strings.Contains(accept, "*/*"),
		language:      r.Header.Get("Accept-Language"),
		host:          r.Host,
		path:          r.URL.Path,
		uri:           r.URL.RequestURI(),
		secure:        r.TLS != nil,
		knobs:         k,
		now:           s.now(),
		render:        s.renderer(k),
	}
}

// about is what the counters file the call under.
func (c *call) about() string {
	if c.endpoint == Topups {
		return c.form.get("iccid")
	}
	return c.id
}

// admit refuses calls without a valid token and calls over a limit.
func (s *Sim) admit(c *call) *reply {
	if c.endpoint != Token {
		if rp := s.authorize(c); rp != nil {
			return rp
		}
		if wait, ok := s.limits.take(limitKey{}, c.knobs.AccountLimit, c.now); !ok {
			return c.tooMany(wait)
		}
	}
	key := limitKey{endpoint: c.endpoint}
	if c.endpoint.perICCID() {
		key.iccid = c.id
	}
	if wait, ok := s.limits.take(key, c.knobs.Limits[c.endpoint], c.now); !ok {
		return c.tooMany(wait)
	}
	return nil
}

// carryOut has the effect and sends the answer, with the faults around them.
func (s *Sim) carryOut(w http.ResponseWriter, r *http.Request, c *call) {
	subject := s.subject(c)
	lucky := s.dice.roll(c.endpoint)
	before := s.faults.take(subject, Before)
	if lucky != nil && (lucky.When == Before || !c.endpoint.buys()) {
		// One that another fault takes the place of is lost: after the effect it would lie.
		before, lucky = cmp.Or(before, lucky), nil
	}
	mangled := before != nil && !c.endpoint.buys() && (before.Action == Garbled || before.Action == MissingID)
	if before != nil && !mangled {
		if s.spoil(w, r, c, before, nil) {
			return
		}
	}
	c.now = s.now()
	rp := s.answer(c)
	if mangled && s.spoil(w, r, c, before, rp) {
		return
	}
	if c.endpoint.buys() && rp.effect {
		after := s.faults.take(subject, After)
		if after == nil {
			after = lucky
		}
		if after != nil && s.spoil(w, r, c, after, rp) {
			return
		}
	}
	if !wait(r.Context(), c.knobs.latency(c.endpoint)) {
		drop(w)
		return
	}
	rp.send(w)
}

// spoil does what a fault says. It reports whether the call is over; if not,
// it goes on as usual. rp is the answer being spoilt; nil before the effect.
func (s *Sim) spoil(w http.ResponseWriter, r *http.Request, c *call, f *Fault, rp *reply) bool {
	ctx := r.Context()
	if f.Action == Slow && f.Detached && rp == nil {
		ctx = serverContext(ctx)
	}
	if !wait(ctx, f.Delay) {
		drop(w)
		return true
	}
	switch f.Action {
	case Slow:
		return false
	case Drop:
		drop(w)
	case Hang:
		<-ctx.Done()
		drop(w)
	case Status:
		if rp == nil && c.endpoint.buys() {
			s.recordFailure(c, f)
		}
		c.faultReply(f).send(w)
	case Redirect:
		rp := htmlReply(http.StatusTemporaryRedirect)
		rp.location = c.uri
		rp.send(w)
	case Garbled:
		garbled(c, rp).send(w)
	case MissingID:
		withoutID(c, rp).send(w)
	}
	return true
}

// answer carries out the call.
func (s *Sim) answer(c *call) *reply {
	switch c.endpoint {
	case Token:
		return s.postToken(c)
	case GetBalance:
		return s.getBalance(c)
	case Packages:
		return s.getPackages(c)
	case Orders:
		return s.postOrder(c)
	case Topups:
		return s.postTopup(c)
	case OrderList:
		return s.getOrders(c)
	case OneOrder:
		return s.getOrder(c)
	case SimList:
		return s.getSims(c)
	case OneSim:
		return s.getSim(c)
	case Usage:
		return s.getUsage(c)
	case History:
		return s.getHistory(c)
	case TopupList:
		return s.getTopups(c)
	case Instructions:
		return s.getInstructions(c)
	case Devices:
		return c.okBare(devices)
	case Any:
	}
	return c.notFound()
}

// subject gathers what faults can be matched against.
func (s *Sim) subject(c *call) subject {
	sub := subject{endpoint: c.endpoint}
	switch {
	case c.endpoint.buys():
		sub.packageID, sub.iccid = c.form.get("package_id"), c.form.get("iccid")
		sub.description = c.form.raw("description")
		return sub
	case c.endpoint == OrderList || c.endpoint == SimList:
		sub.iccid, sub.description = c.query.Get("filter[iccid]"), c.query.Get("filter[description]")
		return sub
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var o *order
	if c.endpoint == OneOrder {
		if id, ok := whole(c.id); ok {
			o = s.orderByID(id)
		}
	} else if card := s.cards[c.id]; card != nil {
		sub.iccid, sub.packageID, o = card.iccid, card.pkg.ID, card.order
	}
	if o != nil {
		sub.packageID, sub.description = o.PackageID, o.Sent
		orDefault(&sub.iccid, o.ICCID)
	}
	return sub
}

// wait lets d pass; it reports false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serverKey finds the context of the whole server in that of a request.
type serverKey struct{}

// serverContext lives on when the client leaves. Without a Server nobody could
// end it, so it only ends by itself.
func serverContext(ctx context.Context) context.Context {
	if server, ok := ctx.Value(serverKey{}).(context.Context); ok {
		return server
	}
	return context.WithoutCancel(ctx)
}

// drop resets the connection, so that the client sees neither an answer nor an
// orderly end. Calls that are given up end with it too: a handler that merely
// returns would have net/http answer 200.
func drop(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: net/http resets the stream
	}
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
