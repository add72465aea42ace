package app_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/pressonesim"
)

// campaignProvider is the simulator behind a server that notes every submission as it
// arrives, and that tells its clients dates by PressOne's clock, which is minutes off.
type campaignProvider struct {
	c    *campaign
	sim  *pressonesim.Sim
	addr string
	now  func() time.Time

	mu    sync.Mutex
	posts map[string][]campaignPost // by our reference
}

// campaignPost is a submission that PressOne has seen.
type campaignPost struct {
	At     time.Time     // by our clock
	Took   time.Duration // until it was answered, or its connection broken
	Status int           // 0 if it was not answered
}

// Packages that end as they should rather than sell.
const (
	campaignTooDear  = "too-dear"         // code 11
	campaignNoStock  = "no-stock"         // code 33
	campaignNone     = "no-such-package"  // code 34
	campaignRecycled = "recycled-at-once" // sold, and of no use: 73
	campaignHidden   = "hidden-topup"     // not offered
)

// campaignESIMs is how many eSIMs all top-ups are for.
const campaignESIMs = 10

// campaignRecycledESIM is one that was recycled.
const campaignRecycledESIM = "8934000000000077770"

func newCampaignProvider(c *campaign, roll *rand.Rand) *campaignProvider {
	c.t.Helper()
	p := &campaignProvider{
		c: c, posts: map[string][]campaignPost{},
		now: func() time.Time { return time.Now().Add(c.skew) },
	}
	p.sim = pressonesim.New(pressonesim.Config{
		ClientID: "client", ClientSecret: campaignSecret, Now: p.now,
		Packages: []pressonesim.Package{
			{ID: campaignTooDear, Price: 2_000_000_00},
			{ID: campaignNoStock, Stock: new(0)},
			{ID: campaignRecycled, Recycled: true},
			{ID: campaignHidden, Kind: pressonesim.KindTopup, Operator: "bonbon-mobile", Hidden: true},
		},
		Sims: []pressonesim.ESIM{{
			ICCID: campaignRecycledESIM, PackageID: "bonbon-mobile-30days-3gb", Status: pressonesim.Active, Recycled: true,
		}},
		Knobs: pressonesim.Knobs{
			TopupDescription: []pressonesim.Keeping{
				pressonesim.Replaced, pressonesim.Replaced, pressonesim.Kept, pressonesim.Nulled,
			}[roll.IntN(4)],
			TopupSims: roll.IntN(3) == 0, TopupMatchesICCID: roll.IntN(3) == 0,
			FailedRows: roll.IntN(2) == 0, ListLag: campaignLag / 3, ReadyAfter: 300 * time.Millisecond, OrderLag: 50 * time.Millisecond,
			AnswerWithoutSims: roll.IntN(4) == 0, NotReadyAs: []pressonesim.NotReady{pressonesim.NotFound, pressonesim.NoQRCode, pressonesim.Partial}[roll.IntN(3)],
			Limits: map[pressonesim.Endpoint]pressonesim.Limit{pressonesim.Token: {}},
		},
		Chaos: pressonesim.Chaos{Rate: 0.3, Seed: c.seed, Reads: true, SlowFor: 400 * time.Millisecond},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.t, err)
	p.addr = listener.Addr().String()
	server := &http.Server{Handler: p.note(p.sim.Handler()), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	c.t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return p
}

// calm has the simulator behave.
func (p *campaignProvider) calm() {
	p.sim.SetChaos(pressonesim.Chaos{})
	p.sim.ClearFaults()
	p.sim.Tune(func(k *pressonesim.Knobs) {
		k.AccountLimit = pressonesim.Limit{}
		k.ListLag, k.ReadyAfter, k.OrderLag = 0, 0, 0
	})
}

// note is the handler around the simulator's.
func (p *campaignProvider) note(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &campaignAnswer{ResponseWriter: w, now: p.now}
		if r.Method != http.MethodPost || !strings.Contains(r.URL.Path, "/orders") {
			next.ServeHTTP(answer, r)
			return
		}
		at := time.Now()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // it broke off: there was no request
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		form := r.Clone(r.Context())
		form.Body = io.NopCloser(bytes.NewReader(body))
		reference := form.FormValue("description")
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.posts[reference] = append(p.posts[reference], campaignPost{At: at, Took: time.Since(at), Status: answer.status})
		}()
		next.ServeHTTP(answer, r)
	})
}

// seen lists the submissions under a reference that PressOne did not turn away at the door.
func (p *campaignProvider) seen(reference string) []campaignPost {
	p.mu.Lock()
	defer p.mu.Unlock()
	var posts []campaignPost
	for _, post := range p.posts[reference] {
		if post.Status != http.StatusUnauthorized {
			posts = append(posts, post)
		}
	}
	return posts
}

// campaignAnswer turns a Retry-After into a date by PressOne's clock.
type campaignAnswer struct {
	http.ResponseWriter
	now    func() time.Time
	status int
}

// Unwrap lets the simulator break the connection.
func (a *campaignAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (a *campaignAnswer) WriteHeader(status int) {
	a.status = status
	now := a.now().UTC()
	a.Header().Set("Date", now.Format(http.TimeFormat))
	if seconds, err := strconv.Atoi(a.Header().Get("Retry-After")); err == nil {
		a.Header().Set("Retry-After", now.Add(time.Duration(seconds)*time.Second).Format(http.TimeFormat))
	}
	a.ResponseWriter.WriteHeader(status)
}
