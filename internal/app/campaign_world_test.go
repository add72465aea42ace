package app_test

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/devstack"
	"esimflow/internal/message"
)

// newCampaign starts the world: Postgres, NATS, the simulator, the programs, and the links
// between them.
//
//	worker × 3 ───► link ───► relay ──► Postgres
//	           ───► link ───► relay ──► NATS ◄─── requests, and what is checked
//	           ───► link ───► relay ──► PressOne (the simulator, and a count of what it was sent)
//	publisher × 2 ► link ───► relay ──► Postgres, NATS
func newCampaign(t *testing.T, seed uint64, length time.Duration) *campaign {
	t.Helper()
	c := &campaign{
		bench: &bench{t: t, log: &lockedBuffer{}}, seed: seed, length: length, began: time.Now(),
		expected: map[campaignKey]campaignEnd{}, tally: map[string]int{},
	}
	roll := c.dice(campaignWorldDice)
	c.skew = time.Duration(roll.Int64N(int64(16*time.Minute))) - 8*time.Minute
	c.pg = devstack.PrivatePostgres(t)
	c.nats = devstack.NATS(t)
	c.setupStreams()
	var err error
	c.db, err = pgxpool.New(t.Context(), c.pg.URL())
	require.NoError(t, err)
	t.Cleanup(c.db.Close)

	c.provider = newCampaignProvider(c, roll)
	c.sim = c.provider.sim
	c.env = map[string]string{
		"PRESSONE_CLIENT_ID": "client", "PRESSONE_CLIENT_SECRET": campaignSecret,
		"HTTP_ADDR": "127.0.0.1:0", "TELEMETRY_ADDR": "127.0.0.1:0", "LOG_FORMAT": "text", "LOG_LEVEL": "info",
		"SUBMIT_TIMEOUT": campaignSubmit.String(), "READ_TIMEOUT": "2s", "LIST_LAG": campaignLag.String(), "SETTLE_DELAY": campaignSettle.String(),
		"RETRY_INITIAL": "20ms", "RETRY_MAX": "500ms", "RETRY_MAX_ATTEMPTS": "6", "POLL_INITIAL": "20ms", "POLL_MAX": "500ms",
		"LEASE_TTL": campaignLease.String(), "MAX_IN_FLIGHT": "64", silenceVariable: "8s",
	}
	c.startPrograms()
	return c
}

const campaignSecret = "canary-client-secret-4711"

// setupStreams makes the streams. What was delivered to a worker that was killed is
// delivered again after seconds rather than after half a minute.
func (c *campaign) setupStreams() {
	c.t.Helper()
	c.nc, c.js = connectPatiently(c.t, c.nats.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	for _, s := range message.Streams(1) {
		_, err := c.js.CreateStream(c.t.Context(), s)
		require.NoError(c.t, err)
	}
	for _, consumer := range message.Consumers() {
		consumer.AckWait = 3 * time.Second
		_, err := c.js.CreateConsumer(c.t.Context(), message.RequestsStream, consumer)
		require.NoError(c.t, err)
	}
}

// startPrograms starts the programs, each with links of its own.
func (c *campaign) startPrograms() {
	c.t.Helper()
	pg, err := url.Parse(c.pg.URL())
	require.NoError(c.t, err)
	socket := filepath.Join(pg.Query().Get("host"), ".s.PGSQL."+pg.Query().Get("port"))
	nc, err := url.Parse(c.nats.URL())
	require.NoError(c.t, err)
	c.relays = []*campaignRelay{
		newCampaignRelay(c.t, "Postgres", "unix", socket),
		newCampaignRelay(c.t, "NATS", "tcp", nc.Host),
		newCampaignRelay(c.t, "PressOne", "tcp", c.provider.addr),
	}
	zerolog.SetGlobalLevel(zerolog.Disabled) // one toxic logs to standard error otherwise
	proxies := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	dir := c.t.ArtifactDir()

	for i := range 5 {
		p := &campaignProgram{c: c, kind: app.WorkerProgram, name: fmt.Sprintf("worker-%d", i+1)}
		if i >= 3 {
			p.kind, p.name = app.PublisherProgram, fmt.Sprintf("publisher-%d", i-2)
		}
		link := func(to *campaignRelay) string {
			l := newCampaignLink(c.t, proxies, p.name+" to "+to.name, to.addr)
			c.links = append(c.links, l)
			return l.addr
		}
		env := maps.Clone(c.env)
		env["DATABASE_URL"] = fmt.Sprintf("postgres://postgres@%s/esimflow?sslmode=disable", link(c.relays[0]))
		env["NATS_URL"] = "nats://" + link(c.relays[1])
		if p.kind == app.WorkerProgram {
			env["PRESSONE_BASE_URL"] = "http://" + link(c.relays[2]) + "/customer/v2"
			p.clock = filepath.Join(dir, p.name+".clock")
			env[clockVariable] = p.clock
			require.NoError(c.t, p.step(0))
		}
		for k, v := range env {
			p.env = append(p.env, k+"="+v)
		}
		p.log = newCampaignLog(c, p.name, filepath.Join(dir, p.name+".log"))
		c.programs = append(c.programs, p)
		require.NoError(c.t, p.start())
		c.t.Cleanup(p.kill)
	}
	for _, p := range c.programs[:3] {
		require.Eventually(c.t, func() bool { return p.log.api() != "" }, time.Minute, 20*time.Millisecond, "%s does not start", p.name)
	}
}

// calm ends the troubles: whatever is broken is mended.
func (c *campaign) calm() {
	c.t.Helper()
	c.note(campaignCalm)
	c.provider.calm()
	for _, p := range c.programs {
		if p.clock != "" {
			require.NoError(c.t, p.step(0))
		}
	}
	c.sim.SetBalance(1_000_000_000_00)
	c.sim.SetStock(campaignNoStock, -1)
}

// stop stops the programs, as a deployment does.
func (c *campaign) stop() {
	c.t.Helper()
	for _, p := range c.programs {
		if err := p.terminate(); err != nil {
			c.problem("%v", err)
		}
	}
}
