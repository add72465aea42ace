package app_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

var update = flag.Bool("update", false, "rewrite golden files")

// journey is the story of one saga, told by its timeline.
type journey struct {
	file, title, story string
	kind               message.Kind // order unless said otherwise
	sim                pressonesim.Config
	env                map[string]string
	setup              func(b *bench)
	ends               int // results to wait for; 1 unless said otherwise
	act                func(b *bench, w *app.Worker)
}

const journeyPackage = "kallur-digital-7days-1gb"

func fault(f pressonesim.Fault) func(*bench) {
	f.Endpoint = cmp.Or(f.Endpoint, pressonesim.Orders)
	return func(b *bench) { b.sim.Inject(f) }
}

var journeys = []journey{
	{
		file: "happy-order", title: "An order",
		story: "PressOne sells it, its eSIM can be installed at once, and the result is announced.",
	},
	{
		file: "happy-topup", title: "A top-up", kind: message.Topup,
		story: "The list of top-ups is read afresh, PressOne sells one, and its order is completed.",
	},
	{
		file: "refused", title: "An order that PressOne refuses",
		story: "Code 33: out of stock. Nothing was bought; an operator may replay it when there is stock.",
		setup: fault(pressonesim.Fault{Action: pressonesim.Status, Status: 422, Code: 33}),
	},
	{
		file: "rate-limited", title: "An order that meets the rate limit",
		story: "PressOne answers 429 with Retry-After: it had no effect. Ordering is closed for that long, for every\nsaga, and then the order is submitted again.",
		setup: fault(pressonesim.Fault{Action: pressonesim.Status, Status: 429, Code: 4004, RetryAfter: time.Second, Times: 1}),
	},
	{
		file: "code-4033", title: "An order that PressOne cannot take right now",
		story: "Code 4033 says \"temporarily unavailable\", not \"nothing was bought\". So PressOne's list is looked at\ntwice before the order is submitted again.",
		setup: fault(pressonesim.Fault{Action: pressonesim.Status, Status: 503, Code: 4033, Times: 1}),
	},
	{
		file: "dropped-after-effect", title: "An order whose answer is lost after it was sold",
		story: "PressOne has sold it and the connection breaks before the answer. A look-up by our reference finds the\norder; nothing is submitted again.",
		setup: fault(pressonesim.Fault{Action: pressonesim.Drop, When: pressonesim.After, Times: 1}),
	},
	{
		file: "dropped-before-effect", title: "An order whose request is lost before it was sold",
		story: "The connection breaks and nothing was sold, which looks the same from here. Two complete look-ups, spaced,\nfind no order with our reference: that is the evidence for submitting it again.",
		setup: fault(pressonesim.Fault{Action: pressonesim.Drop, Times: 1}),
	},
	{
		file: "topup-description-replaced", title: "A top-up whose answer is lost and whose description is replaced", kind: message.Topup,
		story: "PressOne writes \"Topup (<iccid>)\" over our reference. The top-up is recognised by eSIM, package and time.",
		sim:   pressonesim.Config{Knobs: pressonesim.Knobs{TopupDescription: pressonesim.Replaced}},
		setup: fault(pressonesim.Fault{Endpoint: pressonesim.Topups, Action: pressonesim.Drop, When: pressonesim.After, Times: 1}),
	},
	{
		file: "ready-late", title: "An order whose eSIM is ready late",
		story: "It is bought at once; its eSIM is polled until it can be installed.",
		sim:   pressonesim.Config{Knobs: pressonesim.Knobs{ReadyAfter: time.Hour, NotReadyAs: pressonesim.NoQRCode}},
		env:   map[string]string{"POLL_INITIAL": "1m", "POLL_MAX": "1m"},
		act: func(b *bench, _ *app.Worker) {
			require.Eventually(b.t, func() bool {
				return b.count("SELECT count(*) FROM saga_history WHERE event = 'not_ready'") == 1
			}, unhurried, 5*time.Millisecond, "it is not polled")
			b.sim.Tune(func(k *pressonesim.Knobs) { k.ReadyAfter = 0 })
			b.later() // it is polled now
		},
	},
	{
		file: "worker-killed", title: "An order whose worker is killed between the POST and the commit",
		story: "PressOne has sold it; the worker dies before it can record that. Its lease runs out, another worker takes\nthe saga over, waits until whatever was sent has settled, and finds the order.",
		setup: func(b *bench) {
			fault(pressonesim.Fault{Action: pressonesim.Hang, When: pressonesim.After, Times: 1})(b)
			victim := b.process(app.WorkerProgram)
			b.publish(message.Order, journeyBody(message.Order))
			require.Eventually(b.t, func() bool { return b.sim.SoldCount() == 1 }, 60*time.Second, 5*time.Millisecond)
			require.NoError(b.t, victim.Process.Kill())
			_ = victim.Wait()
			b.gone(victim.Process.Pid)
			b.later() // its lease runs out
		},
	},
	{
		file: "adopted", title: "An order that an operator adopts",
		story: "The answer is lost, and PressOne's list does not show the order in time. UNKNOWN_POLICY is hold, so nobody\nsubmits it again: an operator finds it in PressOne's console and names it.",
		sim:   pressonesim.Config{Knobs: pressonesim.Knobs{ListLag: time.Hour}},
		env:   map[string]string{"UNKNOWN_POLICY": "hold"},
		setup: fault(pressonesim.Fault{Action: pressonesim.Drop, When: pressonesim.After, Times: 1}),
		act: func(b *bench, w *app.Worker) {
			b.result("journey", 1)
			b.post(w, "sagas/journey/adopt", `{"order_id":9666,"actor":"ann","reason":"found in PressOne's console"}`, http.StatusOK)
		},
		ends: 2,
	},
	{
		file: "confirmed-absent", title: "An order whose absence an operator confirms",
		story: "The request is lost. UNKNOWN_POLICY is hold: an operator asks PressOne, hears that nothing was bought, and\nsays so; it is submitted again.",
		env:   map[string]string{"UNKNOWN_POLICY": "hold"},
		setup: fault(pressonesim.Fault{Action: pressonesim.Drop, Times: 1}),
		act: func(b *bench, w *app.Worker) {
			b.result("journey", 1)
			b.post(w, "sagas/journey/confirm-absent", `{"actor":"ann","reason":"PressOne's support says there is none"}`, http.StatusOK)
			b.later() // the time of what it had sent is over
		},
		ends: 2,
	},
	{
		file: "replayed-after-credit", title: "An order that is replayed after the account was topped up",
		story: "Code 11: insufficient credit. An operator adds money and replays the dead letter.",
		setup: func(b *bench) { b.sim.SetBalance(0) },
		act: func(b *bench, w *app.Worker) {
			b.result("journey", 1)
			b.sim.SetBalance(1_000_00)
			b.post(w, "replays", `{"code":"11","actor":"ann","reason":"credit added"}`, http.StatusOK)
		},
		ends: 2,
	},
	{
		file: "recycled", title: "An order whose eSIM is recycled after it was bought",
		story: "It was bought and is of no use: a dead letter that can never be replayed, and that says that money was spent.",
		setup: func(b *bench) {
			b.sim.AddPackage(pressonesim.Package{ID: journeyPackage, Price: 950, Recycled: true})
		},
	},
}

func journeyBody(k message.Kind) string {
	if k == message.Topup {
		return fmt.Sprintf(`{"request_id":"journey","package_id":"bonbon-mobile-30days-3gb-topup","iccid":"%s"}`, pressonesim.DefaultICCIDs()[0])
	}
	return fmt.Sprintf(`{"request_id":"journey","package_id":"%s"}`, journeyPackage)
}

// The printed journeys in docs/journeys are what really happens.
func TestJourneys(t *testing.T) {
	for _, j := range journeys {
		t.Run(j.file, func(t *testing.T) {
			b := setup(t, j.sim)
			maps.Copy(b.env, patient) // what runs out makes another journey of it
			maps.Copy(b.env, j.env)
			kind, ends := j.kind, j.ends
			if kind == "" {
				kind = message.Order
			}
			if ends == 0 {
				ends = 1
			}
			if j.setup != nil {
				j.setup(b)
			}
			w := b.patientWorker()
			b.publisher()
			b.publish(kind, journeyBody(kind))
			if j.act != nil {
				j.act(b, w)
			}
			b.result("journey", ends)
			golden(t, "../../docs/journeys/"+j.file+".txt", b.tell(j))
			require.LessOrEqual(t, b.sim.SoldCount(), 1)
		})
	}
}

// tell prints a journey's timeline, without what differs from run to run.
func (b *bench) tell(j journey) string {
	b.t.Helper()
	store := saga.NewStore(b.db, saga.NewMetrics(prometheus.NewRegistry()))
	var entries []saga.Entry
	require.Eventually(b.t, func() bool { // the result is announced a moment before the saga is completed
		all, err := store.List(b.t.Context(), saga.ListFilter{RequestID: "journey", Limit: 1})
		require.NoError(b.t, err)
		require.Len(b.t, all, 1)
		entries, err = store.Timeline(b.t.Context(), all[0].ID)
		require.NoError(b.t, err)
		return all[0].State.Mover() != saga.Publisher
	}, 60*time.Second, 10*time.Millisecond)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s\n%s\n\n%s\n\n", j.title, strings.Repeat("=", len([]rune(j.title))), j.story)
	saga.WriteTimeline(&out, entries, false)
	fmt.Fprintf(&out, "\nPressOne sold %d.\n", b.sim.SoldCount())
	text := regexp.MustCompile(`\b\d{8}-(\d{6})\b`).ReplaceAllString(out.String(), "<date>-$1")
	return regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).ReplaceAllString(text, "<id>")
}

// process starts a program as a process of its own.
func (b *bench) process(p app.Program) *exec.Cmd {
	b.t.Helper()
	b.config(config.Need(p)) // complains here rather than there
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), programVariable+"="+string(p))
	return b.start(cmd)
}

// start starts a process in this bench's environment and returns when it can be told to stop.
func (b *bench) start(cmd *exec.Cmd) *exec.Cmd {
	b.t.Helper()
	for k, v := range b.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	said := &lockedBuffer{}
	cmd.Stderr = io.MultiWriter(b.log, said)
	require.NoError(b.t, cmd.Start())
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(b.t, func() bool { return strings.Contains(said.String(), "msg=starting") }, time.Minute, 5*time.Millisecond)
	return cmd
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run go test ./internal/app -update if that is right")
}
