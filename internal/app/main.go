package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"esimflow/internal/config"
)

// Program is one of the processes.
type Program string

// The programs.
const (
	WorkerProgram    Program = "worker"
	PublisherProgram Program = "publisher"
)

// Main runs a program until SIGTERM or an interrupt and returns its exit code: 0 stopped,
// 1 failed, 2 the configuration is wrong.
func Main(p Program, stderr io.Writer) int {
	need := config.Worker
	if p == PublisherProgram {
		need = config.Publisher
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cfg, err := config.Load(config.Environ(), need)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 2
	}
	collectLessOften()
	log := NewLogger(cfg, stderr)
	adoptLibraries(log)
	spans, err := newExporting(ctx, p, config.Environ(), log)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 2
	}
	if err := run(ctx, p, cfg, spans, log); err != nil {
		log.ErrorContext(ctx, "ended", "program", p, "err", err)
		return 1
	}
	log.InfoContext(ctx, "stopped", "program", p)
	return 0
}

// collectLessOften trades memory, of which the programs need little, for some of their
// processor time: what is alive at a time is a few megabytes. GOGC has the last word.
func collectLessOften() {
	const percent, standard = 200, 100
	if set := debug.SetGCPercent(percent); set != standard {
		debug.SetGCPercent(set)
	}
}

func run(ctx context.Context, p Program, cfg config.Config, spans *exporting, log *slog.Logger) error {
	log.InfoContext(ctx, "starting", "program", p, "config", cfg.String())
	// The last spans have what is left of the time to stop, and not much of it.
	stopping, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(cfg.SubmitTimeout+shutdownMargin, end) })()
	defer spans.close(stopping)
	if p == PublisherProgram {
		publisher, err := NewPublisher(ctx, cfg, log, spans.options()...)
		if err != nil {
			return err
		}
		return publisher.Run(ctx)
	}
	worker, err := NewWorker(ctx, cfg, log, spans.options()...)
	if err != nil {
		return err
	}
	return worker.Run(ctx)
}

// NewLogger returns the logger that the configuration asks for.
func NewLogger(cfg config.Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == config.Text {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
