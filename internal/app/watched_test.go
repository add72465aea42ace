package app_test

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/config"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// watched is a worker and a publisher whose metrics are looked at: what they share is read
// every 200 ms.
type watched struct {
	*bench
	worker    *app.Worker
	publisher *app.Publisher
}

func watch(b *bench) *watched {
	b.t.Helper()
	const every = 200 * time.Millisecond
	w, err := app.NewWorker(b.t.Context(), b.config(config.Worker), b.logger())
	require.NoError(b.t, err)
	w.Watch(every)
	b.run(w.Run)
	p, err := app.NewPublisher(b.t.Context(), b.config(config.Publisher), b.logger())
	require.NoError(b.t, err)
	p.Watch(every)
	b.run(p.Run)
	require.Eventually(b.t, func() bool { return w.Ready() == nil }, time.Minute, 10*time.Millisecond, "worker is not ready")
	v := &watched{bench: b, worker: w, publisher: p}
	require.Eventually(b.t, v.everythingRead, time.Minute, 50*time.Millisecond, "everything is read once")
	return v
}

// everythingRead reports whether each part has been read once, by all who read it.
func (v *watched) everythingRead() bool {
	all := series(v.scrape())
	for program, names := range map[string][]string{
		"publisher": {"esimflow_sagas", "esimflow_unknown_exposure", "esimflow_dead_letters", "esimflow_outbox_pending_messages", "esimflow_schema_version"},
		"worker": {
			"esimflow_sagas", "esimflow_unknown_exposure", "esimflow_dead_letters", "esimflow_outbox_pending_messages", "esimflow_schema_version",
			"esimflow_intake_pending_messages", "esimflow_provider_balance",
		},
	} {
		for _, name := range names {
			if !slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, name+"{program="+program) }) {
				return false
			}
		}
	}
	return true
}

// scrape reads both programs' metrics as Prometheus does. Each gets a label, program.
func (v *watched) scrape() map[string]*dto.MetricFamily {
	v.t.Helper()
	all := map[string]*dto.MetricFamily{}
	for program, addr := range map[string]string{"worker": v.worker.TelemetryAddr(), "publisher": v.publisher.TelemetryAddr()} {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(v.fetch("http://" + addr + "/metrics")))
		require.NoError(v.t, err)
		for name, f := range families {
			for _, m := range f.Metric {
				if name != "esimflow_build_info" { // has it
					m.Label = append([]*dto.LabelPair{{Name: new("program"), Value: &program}}, m.Label...)
				}
			}
			if all[name] == nil {
				all[name] = f
			} else {
				all[name].Metric = append(all[name].Metric, f.Metric...)
			}
		}
	}
	return all
}

// labelsOf lists a series' labels in order, the program aside.
func labelsOf(m *dto.Metric) []string {
	var labels []string
	for _, l := range m.Label {
		if l.GetName() != "program" {
			labels = append(labels, l.GetName()+"="+l.GetValue())
		}
	}
	slices.Sort(labels)
	return labels
}

// series names every series of ours.
func series(all map[string]*dto.MetricFamily) []string {
	var names []string
	for name, f := range all {
		if !strings.HasPrefix(name, "esimflow_") {
			continue
		}
		for _, m := range f.Metric {
			program := ""
			for _, l := range m.Label {
				if l.GetName() == "program" {
					program = l.GetValue()
				}
			}
			names = append(names, fmt.Sprintf("%s{program=%s,%s}", name, program, strings.Join(labelsOf(m), ",")))
		}
	}
	slices.Sort(names)
	return names
}

// sums adds up a counter over the programs (of a histogram: its count), by label values as
// "a=1,b=2"; series at zero are left out.
func sums(all map[string]*dto.MetricFamily, name string) map[string]float64 {
	return values(all, name, func(a, b float64) float64 { return a + b })
}

// maxima is sums for gauges that all programs show.
func maxima(all map[string]*dto.MetricFamily, name string) map[string]float64 {
	return values(all, name, math.Max)
}

func values(all map[string]*dto.MetricFamily, name string, join func(a, b float64) float64) map[string]float64 {
	got := map[string]float64{}
	for _, m := range all[name].GetMetric() {
		v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		if v != 0 {
			key := strings.Join(labelsOf(m), ",")
			got[key] = join(got[key], v)
		}
	}
	return got
}

// query is what SQL says: the first column is a key as sums has them, the second a number.
func (b *bench) query(sql string) map[string]float64 {
	b.t.Helper()
	rows, err := b.db.Query(b.t.Context(), sql)
	require.NoError(b.t, err)
	got := map[string]float64{}
	for rows.Next() {
		var key string
		var n float64
		require.NoError(b.t, rows.Scan(&key, &n))
		got[key] = n
	}
	require.NoError(b.t, rows.Err())
	return got
}

// eventful is a bench for a run in which most of what can happen does: see troubles.
func eventful(t *testing.T) *bench {
	t.Helper()
	b := setup(t, pressonesim.Config{})
	b.lenientTokens()
	maps.Copy(b.env, patient) // what is lost is what is meant to be
	b.env["UNKNOWN_POLICY"] = "hold"
	return b
}

// spoil sells a package of that name, whose submissions go wrong in that way.
func (b *bench) spoil(name string, f pressonesim.Fault) {
	b.sim.AddPackage(pressonesim.Package{ID: name, Price: 700})
	f.ID, f.Endpoint, f.PackageID = name, pressonesim.Orders, name
	b.sim.Inject(f)
	b.publish(message.Order, fmt.Sprintf(`{"request_id":"%s","package_id":"%s","quantity":2}`, name, name))
}

// troubles sends requests of which some succeed, some are refused, some are lost before
// PressOne has sold and some after, some are not understood; lets an operator replay one,
// discard one and confirm that one was not bought; and waits until everything has ended.
//
// What is open then: a letter whose outcome is unknown (kallur, 9.5 dollars), two others whose
// packages have no price here, and several refused.
func (v *watched) troubles() {
	b := v.bench
	b.t.Helper()
	ends := b.traffic("plain", 10, 3)
	b.publish(message.Order, order("plain-0")) // a duplicate
	b.publish(message.Order, `{"request_id":"plain-1","package_id":"another"}`)
	b.publish(message.Order, "bad")
	b.publish(message.Topup, `{"request_id":1}`)
	b.spoil("poor", status(11, 0, 422))
	b.spoil("sold-out", status(33, 0, 422))
	b.spoil("odd", status(77, 0, 422))
	b.spoil("limited", pressonesim.Fault{Action: pressonesim.Status, Status: 429, Code: 4004, Times: 1, RetryAfter: time.Second})
	b.spoil("refreshed", status(4014, 1, 401))
	b.spoil("cut-after", pressonesim.Fault{Action: pressonesim.Drop, When: pressonesim.After, Times: 1})
	b.spoil("cut-before", pressonesim.Fault{Action: pressonesim.Drop, Times: 1})
	b.spoil("absent", status(4033, 1, 503))
	b.spoil("gateway", status(0, 1, 502))
	b.sim.AddPackage(pressonesim.Package{ID: "late", Price: 100, ReadyAfter: 500 * time.Millisecond})
	b.publish(message.Order, `{"request_id":"late","package_id":"late"}`)
	ends += 10
	b.endedWithin(ends, time.Minute)

	b.sim.Inject(pressonesim.Fault{ID: "lost", Endpoint: pressonesim.Orders, Action: pressonesim.Drop, Times: 1})
	b.publish(message.Order, order("lost"))
	b.endedWithin(ends+1, time.Minute)
	by := `"actor":"ann","reason":"a test"`
	letter := func(id string) string {
		return b.text("SELECT id::text FROM dead_letter WHERE request_id = '" + id + "'")
	}
	b.sim.ClearFault("poor")
	b.post(v.worker, "dead-letters/replay", fmt.Sprintf(`{"ids":["%s"],%s}`, letter("poor"), by), http.StatusOK)
	b.post(v.worker, "dead-letters/"+letter("odd")+"/discard", "{"+by+"}", http.StatusOK)
	b.post(v.worker, "sagas/"+b.text("SELECT id::text FROM saga WHERE request_id = 'absent'")+"/confirm-absent", "{"+by+"}", http.StatusOK)
	require.Contains(b.t, b.result("poor", 2).Type, ".completed.")
	require.Contains(b.t, b.result("absent", 2).Type, ".completed.")
	require.Eventually(b.t, func() bool { return b.count("SELECT count(*) FROM outbox") == 0 }, time.Minute, 20*time.Millisecond)
}
