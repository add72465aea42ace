package app_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
	"esimflow/internal/saga"
)

// killPoint is a durable step at which a process is killed, on either side of it.
type killPoint struct {
	name    string       // of its journeys, together with the moment
	what    string       // the step, for the title
	program app.Program  // the victim; a worker unless said otherwise
	kind    message.Kind // order unless said otherwise
	edge    saga.Rule    // the transition that the step commits, if it is one
	stop    step         // made of edge unless said otherwise
	// once tells which time is meant, where the step is taken more than once; and of a
	// message that nobody answers, that it has arrived.
	once func(b *bench) bool

	sim     pressonesim.Config
	env     map[string]string
	body    string                     // the request; journeyBody unless said otherwise
	arrange func(b *bench)             // before anything starts
	killed  []killPoint                // workers that were killed before this one, in turn
	when    moment                     // of one of those; after unless said otherwise
	between func(b *bench)             // after those
	late    []killPoint                // these take the saga over while the victim's POST is answered, and are killed
	press   func(b *bench, api string) // what an operator does, at the address of a worker

	sides map[moment]killed
	sold  int // in the end; 1 unless said otherwise, and -1 for none
	ends  int // results in the end; 1 unless said otherwise
}

// killed is one side of a step: what the books say when the process is dead, and how it goes
// on from there.
type killed struct {
	story     string
	books     string
	meanwhile func(b *bench, v *victim)                      // before another process starts
	again     func(b *bench, w *app.Worker) (outcome string) // what the operator does about it
	tell      func(b *bench, j journey) string               // where there is no saga to tell of
}

// patient is the settings of these tests: whatever could run out on a busy machine takes
// long, and does not have to be waited for, because later makes time pass.
var patient = map[string]string{
	"SUBMIT_TIMEOUT": "20s", "READ_TIMEOUT": "20s", "LEASE_TTL": "30s",
}

// unhurried is how long anything may take that only has to happen.
const unhurried = time.Minute

// Whatever is durable is reached by a socket, so a process can be stopped exactly there: on
// either side of every commit, call, publication and acknowledgement. It is killed, and
// another one takes over from what is on record.
func TestKillPoints(t *testing.T) {
	for _, p := range killPoints() {
		for _, when := range []moment{before, after} {
			side, ok := p.sides[when]
			if !ok {
				continue
			}
			t.Run(p.name+"-"+string(when), func(t *testing.T) { p.run(setup(t, p.sim), when, side) })
		}
	}
}

func (p killPoint) run(b *bench, when moment, side killed) {
	t := b.t
	maps.Copy(b.env, patient)
	maps.Copy(b.env, p.env)
	b.redeliverSoon()
	if p.arrange != nil {
		p.arrange(b)
	}
	kind, program := p.orOrder(), cmp.Or(p.program, app.WorkerProgram)
	var w *app.Worker
	if program != app.WorkerProgram {
		w = b.patientWorker()
	}
	b.publish(kind, p.request(kind))
	for _, earlier := range p.killed {
		b.victim(app.WorkerProgram, earlier.at(b), cmp.Or(earlier.when, after), nil).die()
		b.later()
	}
	if p.between != nil {
		p.between(b)
	}
	if program == app.PublisherProgram {
		require.Eventually(t, func() bool { return b.count("SELECT count(*) FROM outbox") > 0 }, unhurried, 5*time.Millisecond, "there is nothing to publish")
	}
	var slow *pause
	switch {
	case p.late != nil:
		slow = newPause(calls(http.MethodPost, "/orders"))
	case p.edge.On == saga.Submitted, p.edge.On == saga.Ready:
		// What PressOne says of a purchase while that is being committed goes into the same commit if that has not
		// begun. Here the purchase comes first, however slow the commit is.
		slow = newPause(calls(http.MethodGet, "/(sims|orders)/[0-9]+"))
		slow.until = func() bool { return b.tally("SELECT count(*) FROM saga WHERE state = 'polling'") == 1 }
	}
	v := b.victim(program, p.at(b), when, slow)
	if p.late != nil {
		v.overtaken(p.late)
	}
	if p.press != nil {
		if w == nil {
			p.press(b, v.api())
		} else {
			p.press(b, w.APIAddr())
		}
	}
	v.die()
	books := b.books()
	require.Equal(t, side.books, books, "when it was killed")

	if side.meanwhile != nil {
		side.meanwhile(b, v)
	}
	b.later()
	if w == nil {
		w = b.patientWorker()
	}
	b.publisher()
	epilogue := ""
	if side.again != nil {
		epilogue = "\n" + side.again(b, w) + "\n"
	}
	j := journey{
		title: fmt.Sprintf("%s whose %s is killed %s %s", map[message.Kind]string{message.Order: "An order", message.Topup: "A top-up"}[kind],
			program, when, p.what),
		story: wrapped(side.story) + "\n\nWhen it was killed: " + books + ".",
	}
	tell := b.tell
	if side.tell != nil {
		tell = func(j journey) string { return side.tell(b, j) }
	} else {
		b.ended(max(p.ends, 1))
	}
	golden(t, "../../docs/journeys/killed/"+p.name+"-"+string(when)+".txt", tell(j)+epilogue)
	require.Equal(t, p.finallySold(), b.sim.SoldCount(), "sold")
	b.allQuiet()
}

func (p killPoint) orOrder() message.Kind { return cmp.Or(p.kind, message.Order) }

func (p killPoint) finallySold() int { return max(cmp.Or(p.sold, 1), 0) }

func (p killPoint) request(k message.Kind) string {
	if p.body != "" {
		return p.body
	}
	return journeyBody(k)
}

// at is the step that the victim is stopped at.
func (p killPoint) at(b *bench) step {
	s := p.stop
	if s.postgres == nil && s.nats == nil && s.pressone == nil {
		s = moves(p.edge)
	}
	if write := s.postgres; write != nil && p.once != nil {
		s.postgres = func(w pgWrite) bool { return write(w) && p.once(b) }
	}
	if call := s.pressone; call != nil && p.once != nil {
		s.pressone = func(r *http.Request) bool { return call(r) && p.once(b) }
	}
	if s.nats != nil && p.once != nil {
		s.taken = func() bool { return p.once(b) }
	}
	return s
}

// moves recognises the commit of a transition by its row of history.
func moves(r saga.Rule) step {
	return step{postgres: func(w pgWrite) bool {
		if r.On == saga.Announced { // the publisher's own statement
			_, ok := w.find("'announced'")
			return ok
		}
		accepting, ok := w.find("INSERT INTO saga (")
		if ok && r.From == "" {
			return slices.Contains(accepting.texts(24), string(r.On)) && slices.Contains(accepting.texts(4), string(r.To)) && !w.idle()
		}
		s, ok := w.find("UPDATE saga\n    SET state = d.state")
		if !ok || w.idle() {
			return false
		}
		from, to := s.texts(22), s.texts(23)
		for i, on := range s.texts(21) {
			if on == string(r.On) && from[i] == string(r.From) && to[i] == string(r.To) {
				return true
			}
		}
		return false
	}}
}

// givesBack recognises that a saga only changes hands: it gets no row of history.
var givesBack = step{postgres: func(w pgWrite) bool {
	s, ok := w.find("UPDATE saga\n    SET state = d.state")
	return ok && len(s.texts(21)) == 0 && !w.idle()
}}

// wrapped breaks a story into lines.
func wrapped(story string) string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(story) {
		if line != "" && len([]rune(line+" "+word)) > 100 {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return strings.Join(append(lines, line), "\n")
}
