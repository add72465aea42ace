package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/pressonesim"
)

// silenceVariable is how long a program that is a process of its own takes Postgres's
// silence for an answer.
const silenceVariable = "ESIMFLOW_TEST_SILENCE"

// All connections to Postgres are forgotten, again and again, in the middle of whatever
// they do, and nobody is told: queries wait for answers that never come, under leases that
// are renewed over new connections.
func TestForgottenConnections(t *testing.T) {
	b := setup(t, pressonesim.Config{Knobs: pressonesim.Knobs{Latency: 20 * time.Millisecond}})
	pg, err := url.Parse(b.env["DATABASE_URL"])
	require.NoError(t, err)
	relay := newCampaignRelay(t, "Postgres", "unix", filepath.Join(pg.Query().Get("host"), ".s.PGSQL."+pg.Query().Get("port")))
	b.env["DATABASE_URL"] = fmt.Sprintf("postgres://postgres@%s%s?sslmode=disable", relay.addr, pg.Path)
	b.env[silenceVariable], b.env["LEASE_TTL"], b.env["MAX_IN_FLIGHT"] = "2s", "3s", "8"
	b.process(app.WorkerProgram)
	b.process(app.PublisherProgram)
	const orders = 200
	b.orders("forgotten", orders)
	for _, sold := range []int{20, 60, 100, 140, 180} {
		require.Eventually(t, func() bool { return b.sim.SoldCount() >= sold }, time.Minute, time.Millisecond, "it hangs after %d", b.sim.SoldCount())
		require.Positive(t, relay.forget(1, rand.New(rand.NewPCG(1, 1))))
	}
	require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM saga WHERE state = 'completed'") == orders },
		2*time.Minute, 50*time.Millisecond, "something waits for ever")
	require.Equal(t, orders, b.sim.SoldCount())
}

// A connection that says nothing fails when patience is at its end, and earlier when its
// user says so, be it before the read or while it waits.
func TestSilentConnections(t *testing.T) {
	const patience = 30 * time.Second
	tests := []struct {
		name  string
		while func(c net.Conn)
		want  time.Duration
	}{
		{"nobody says anything", func(net.Conn) {}, patience},
		{"an earlier deadline", func(c net.Conn) { _ = c.SetReadDeadline(time.Now().Add(5 * time.Second)) }, 5 * time.Second},
		{"a later deadline", func(c net.Conn) { _ = c.SetDeadline(time.Now().Add(time.Hour)) }, patience},
		{"a deadline that was taken back", func(c net.Conn) {
			_ = c.SetDeadline(time.Now())
			_ = c.SetDeadline(time.Time{})
		}, patience},
		{"an interruption", func(c net.Conn) {
			time.AfterFunc(7*time.Second, func() { _ = c.SetDeadline(time.Now()) })
		}, 7 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer server.Close()
				dial := app.Impatient(func(context.Context, string, string) (net.Conn, error) { return client, nil }, patience)
				c, err := dial(t.Context(), "tcp", "")
				require.NoError(t, err)
				defer c.Close()
				start := time.Now()
				tt.while(c)
				_, err = c.Read(make([]byte, 1))
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				require.Equal(t, tt.want, time.Since(start))
			})
		})
	}
}
