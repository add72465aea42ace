package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"
)

// usage is what has been used by now.
type usage struct {
	at      time.Time
	cpu     map[string]float64 // by process, in seconds
	machine machineTime
	wal     float64 // bytes
}

func (r *run) usage(ctx context.Context) (usage, error) {
	u := usage{cpu: map[string]float64{}}
	var errs []error
	add := func(name string, pid int, of func(int) (float64, error)) {
		cpu, err := of(pid)
		u.cpu[name] += cpu
		errs = append(errs, err)
	}
	for _, p := range r.workers {
		add(workerProcess, p.pid(), cpuOf)
	}
	add(publisherProcess, r.all[len(r.all)-1].pid(), cpuOf)
	add(postgresProcess, r.root, cpuOfFamily)
	add(natsProcess, r.nats.pid(), cpuOf)
	add(providerProcess, r.provider.pid(), cpuOf)
	add(benchProcess, os.Getpid(), cpuOf)
	var err error
	u.machine, err = readMachine()
	errs = append(errs, err)
	if err := r.admin.QueryRow(ctx, walPositionSQL).Scan(&u.wal); err != nil {
		errs = append(errs, fmt.Errorf("bench: %w", err))
	}
	u.at = time.Now()
	return u, errors.Join(errs...)
}

// spent is what was used between two readings.
type spent struct {
	seconds float64
	cpu     map[string]float64
	machine machineTime
}

func (u usage) minus(before usage) spent {
	d := spent{
		seconds: u.at.Sub(before.at).Seconds(), cpu: maps.Clone(u.cpu),
		machine: machineTime{busy: u.machine.busy - before.machine.busy, stole: u.machine.stole - before.machine.stole},
	}
	for name, cpu := range before.cpu {
		d.cpu[name] -= cpu
	}
	return d
}

func (r *run) spent(d spent) {
	foreign := d.machine.busy
	for name, cpu := range d.cpu {
		r.figures.CPU[name] = cpu * 1000 / float64(r.cfg.N)
		foreign -= cpu
	}
	r.figures.ForeignCores = max(0, foreign/d.seconds)
	r.figures.StolenCores = d.machine.stole / d.seconds
}

func (r *run) memory() error {
	var errs []error
	for _, p := range r.all {
		peak, err := peakMemory(p.pid())
		r.figures.PeakMemory[p.name] = peak
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (r *run) counted(d counters) {
	n := float64(r.cfg.N)
	f := &r.figures
	f.Commits, f.WALBytes, f.PageImages, f.WALSyncs = d.commits/n, d.wal/n, d.images/n, d.syncs/n
	for name, t := range d.tables {
		f.Tables[name] = t.over(n)
	}
}

// timed is the speed, and with a rate the latencies.
func (r *run) timed(begin time.Time, got results, sent []time.Time, late time.Duration) {
	f, n := &r.figures, len(got.ordered)
	f.Seconds = got.ordered[n-1].Sub(begin).Seconds()
	f.SagasPerSecond = float64(r.cfg.N) / f.Seconds
	if from, to := n/10, n-1-n/10; to > from {
		if d := got.ordered[to].Sub(got.ordered[from]).Seconds(); d > 0 {
			f.SteadyRate = float64(to-from) / d
		}
	}
	if r.cfg.Rate > 0 {
		f.Latency = latencies(sent, got.arrived, late)
	}
}
