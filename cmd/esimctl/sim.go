package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"esimflow/internal/pressonesim"
)

// simOptions are the flags of sim.
type simOptions struct {
	config  pressonesim.Config
	balance float64
}

func newSimCommand(c *cli) *cobra.Command {
	var o simOptions
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run the PressOne simulator until interrupted",
		Long: `Run the PressOne simulator, alone, until interrupted. It sells eSIMs for play money over the
real API, keeps the truth in its books, and can be told to misbehave, here or while it runs
by its admin endpoints. What it prints on stdout can be given to a worker as its environment.`,
		Example: `  esimctl sim --chaos-rate 0.1 --seed 7 --ready-after 2s`,
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.sim(cmd.Context(), o, cmd.Flags().Changed("balance"))
		},
	}
	f, cfg := cmd.Flags(), &o.config
	f.StringVar(&cfg.Addr, "addr", "127.0.0.1:9081", "where to listen")
	f.StringVar(&cfg.ClientID, "client-id", "client", "client id of the account")
	f.StringVar(&cfg.ClientSecret, "client-secret", "secret", "client secret of the account")
	f.Float64Var(&o.balance, "balance", 1_000_000, "balance of the account, in dollars")
	f.Float64Var(&cfg.Chaos.Rate, "chaos-rate", 0, "share of the purchases to spoil, 0 to 1")
	f.Uint64Var(&cfg.Chaos.Seed, "seed", 1, "which of them: the same ones for the same seed")
	f.BoolVar(&cfg.Chaos.Reads, "chaos-reads", false, "spoil reads too")
	f.DurationVar(&cfg.Knobs.Latency, "latency", 0, "time before each answer")
	f.DurationVar(&cfg.Knobs.ListLag, "list-lag", 0, "time after its sale at which an order appears in the list")
	f.DurationVar(&cfg.Knobs.ReadyAfter, "ready-after", 0, "time after the sale at which an eSIM can be installed")
	return cmd
}

// simulator is what sim prints.
type simulator struct {
	BaseURL      string `json:"base_url"`
	AdminURL     string `json:"admin_url"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"` // of the simulator's account, which protects nothing
}

func (c *cli) sim(ctx context.Context, o simOptions, balance bool) error {
	for name, d := range map[string]time.Duration{
		"latency": o.config.Knobs.Latency, "list-lag": o.config.Knobs.ListLag, "ready-after": o.config.Knobs.ReadyAfter,
	} {
		if d < 0 {
			return usagef("--%s is negative", name)
		}
	}
	if math.IsNaN(o.balance) || math.Abs(o.balance) > 1e12 {
		return usagef("--balance %g is not an amount of money", o.balance)
	}
	if o.config.ClientID == "" || o.config.ClientSecret == "" {
		return usagef("--client-id and --client-secret must not be empty")
	}
	if err := o.config.Validate(); err != nil {
		return usagef("%w", err)
	}
	server, err := pressonesim.Start(o.config) //nolint:contextcheck // it ends by Close
	switch _, wrong := errors.AsType[*net.AddrError](err); {
	case wrong:
		return usagef("--addr %q is not a host and a port, like 127.0.0.1:9081", o.config.Addr)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("somebody listens at %s already: give another --addr", o.config.Addr)
	case err != nil:
		return err
	}
	defer server.Close()
	if balance {
		server.SetBalance(pressonesim.Cents(math.Round(o.balance * 100)))
	}
	s := simulator{
		BaseURL: server.URL(), AdminURL: server.AdminURL(),
		ClientID: o.config.ClientID, ClientSecret: o.config.ClientSecret,
	}
	err = c.print(s, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "PRESSONE_BASE_URL=%s\nPRESSONE_CLIENT_ID=%s\nPRESSONE_CLIENT_SECRET=%s\n",
			s.BaseURL, s.ClientID, s.ClientSecret)
		return err
	})
	if err != nil {
		return err
	}
	c.say("The simulator runs until interrupted. Admin endpoints: %s", s.AdminURL)
	<-ctx.Done()
	return nil
}
