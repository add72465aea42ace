package saga

import "github.com/prometheus/client_golang/prometheus"

// Show registers how much of the runner's room is taken.
func (r *Runner) Show(reg prometheus.Registerer) {
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "esimflow_in_flight", Help: "Sagas that this worker is driving, or has reserved room for.",
		}, func() float64 { return float64(len(r.slots)) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "esimflow_in_flight_limit", Help: "MAX_IN_FLIGHT: how many sagas this worker drives at the most.",
		}, func() float64 { return float64(cap(r.slots)) }),
	)
}
