package monitor

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"esimflow/internal/outbox"
	"esimflow/internal/pressone"
)

var (
	balanceDesc = prometheus.NewDesc("esimflow_provider_balance",
		"What the account has left at PressOne. Shown by the one worker that reads it: use max by (currency).", []string{"currency"}, nil)
	balanceAtDesc = prometheus.NewDesc("esimflow_provider_balance_updated_timestamp_seconds",
		"When the balance was read. Shown by the one worker that reads it: use max by (currency).", []string{"currency"}, nil)
)

// The balance is read by one worker, seldom: each reading is one of the account's calls.
const (
	balanceEvery = 5 * time.Minute
	balanceLook  = time.Minute     // how often a worker looks whether it is the one
	balanceLease = 3 * time.Minute // after which another worker is
	balanceFirst = 30 * time.Second
)

// BalanceConfig is what reading the balance needs.
type BalanceConfig struct {
	Provider interface {
		Balance(ctx context.Context) (pressone.Balance, error)
	}
	Gate interface {
		ClosedFor(lane pressone.Lane) time.Duration
		Observe(ctx context.Context, lane pressone.Lane, err error) (closed bool, _ error)
	}
	Lease outbox.Leadership // its name and TTL are set here
	First time.Duration     // how long it is waited with at first; 0 is 30 s
	Every time.Duration     // 0 is five minutes
}

type balanceReader struct {
	BalanceConfig
	kept []sample
	read time.Time // when it was tried last
}

// Balance shows what the account has left. It waits its turn in the read lane, and does not
// ask while that is closed.
func Balance(cfg BalanceConfig) *Part {
	cfg.Lease.Name, cfg.Lease.TTL = "balance", balanceLease
	r := &balanceReader{BalanceConfig: cfg}
	if r.First == 0 {
		r.First = balanceFirst
	}
	if r.Every == 0 {
		r.Every = balanceEvery
	}
	return &Part{
		name: "balance", descs: []*prometheus.Desc{balanceDesc, balanceAtDesc}, read: r.look, leave: r.Lease.Resign,
		every: min(balanceLook, r.Every), first: r.First,
	}
}

// look reads the balance if this worker is the one to do so and it is time.
func (r *balanceReader) look(ctx context.Context) ([]sample, error) {
	held, err := r.Lease.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("monitor: balance: %w", err)
	}
	if !held {
		r.kept, r.read = nil, time.Time{}
		return nil, nil
	}
	if time.Since(r.read) < r.Every*9/10 || r.Gate.ClosedFor(pressone.LaneRead) > 0 {
		return r.kept, nil
	}
	r.read = time.Now()
	b, err := r.Provider.Balance(ctx)
	if ctx.Err() == nil {
		_, _ = r.Gate.Observe(ctx, pressone.LaneRead, err) // the gate has its own heartbeat
	}
	if err != nil {
		return nil, fmt.Errorf("monitor: balance: %w", err)
	}
	amount, err := strconv.ParseFloat(string(b.Amount), 64)
	if !b.Known || err != nil { // a post-paid account shows none
		r.kept = nil
		return nil, nil //nolint:nilerr // no amount is no error
	}
	currency := pressone.CurrencyLabel(b.Currency)
	r.kept = []sample{
		{desc: balanceDesc, value: amount, labels: []string{currency}},
		{desc: balanceAtDesc, value: float64(r.read.Unix()), labels: []string{currency}},
	}
	return r.kept, nil
}
