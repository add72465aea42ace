package app

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// newRegistry returns a registry with what every process shows.
func newRegistry(p Program) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	version, revision := Version()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "esimflow_build_info", Help: "Always 1; the labels say what was built.",
		ConstLabels: prometheus.Labels{"program": string(p), "version": version, "revision": revision},
	})
	build.Set(1)
	reg.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}
