package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// Report is what a bench has found. Median has no statements: those are in the runs.
type Report struct {
	Config  Config  `json:"config"`
	Machine Machine `json:"machine"`
	Runs    []Run   `json:"runs"`
	Median  Figures `json:"median"`
}

// Machine is where it ran.
type Machine struct {
	Cores    int    `json:"cores"`
	Postgres string `json:"postgres"`
	Go       string `json:"go"`
}

// Run is one measurement.
type Run struct {
	Figures
	Statements []Statement `json:"statements,omitempty"`
	Wrong      []string    `json:"wrong,omitempty"` // what was not as it must be
}

// Measure does what cfg asks for; getenv is where its processes find what this one was
// given. What goes on is said to talk. A run that went wrong is in the report and an error:
// the runs so far are in the report in any case.
func Measure(ctx context.Context, cfg Config, getenv func(string) string, talk io.Writer) (report Report, err error) {
	report.Config = cfg
	if err := cfg.Validate(); err != nil {
		return report, err
	}
	program, err := os.Executable()
	if err != nil {
		return report, fmt.Errorf("bench: %w", err)
	}
	if _, err := readMachine(); err != nil {
		return report, fmt.Errorf("bench needs Linux: %w", err)
	}
	ctx, died := context.WithCancelCause(ctx)
	defer died(nil)
	s := &stack{cfg: cfg, talk: talk, launcher: launcher{program: program, env: passed(getenv), died: died}}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx); err != nil {
		return report, explain(ctx, err)
	}
	report.Machine = Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	if err := s.admin.QueryRow(ctx, `SHOW server_version`).Scan(&report.Machine.Postgres); err != nil {
		return report, fmt.Errorf("bench: %w", err)
	}
	var figures []Figures
	for i := range cfg.Runs {
		r, err := s.do(ctx, i+1)
		if err != nil {
			return report, explain(ctx, err)
		}
		report.Runs = append(report.Runs, r)
		figures = append(figures, r.Figures)
		if report.Median, err = medianOf(figures); err != nil {
			return report, err
		}
		if len(r.Wrong) > 0 {
			return report, fmt.Errorf("bench: run %d went wrong:\n  %s", i+1, strings.Join(r.Wrong, "\n  "))
		}
	}
	return report, nil
}

// explain gives the reason why everything was cancelled, rather than what came of it.
func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
