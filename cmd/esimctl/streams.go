package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"esimflow/internal/config"
	"esimflow/internal/message"
)

func newStreamsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "streams",
		Short: "Create, update and check the streams and consumers on NATS",
		Long:  "Create, update and check the streams and consumers that esimflow needs at NATS_URL.",
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "apply",
			Short: "Create what is missing and correct what differs from the contract",
			Long: `Create the streams and consumers that are missing, with NATS_REPLICAS replicas, and correct
what differs from the contract. What else somebody has set is kept: limits, placement,
descriptions. While NATS_REPLICAS is not set, streams that exist keep their replicas. Calling
it again changes nothing. What NATS cannot change, such as the storage of a stream, is
reported and left alone: nothing is ever deleted.`,
			Args: none,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.withNATS(cmd.Context(), c.streamsApply)
			},
		},
		&cobra.Command{
			Use:   "verify",
			Short: "List every difference from the contract; exit 1 if there is one",
			Long: `List every difference from the contract, and warn of what is allowed and dangerous: a single
replica, a maximum age, a consumer that is paused, a replica that is offline. Exits 1 when
something differs. NATS_REPLICAS is compared if it is set: set it to 3 in production.`,
			Args: none,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.withNATS(cmd.Context(), c.streamsVerify)
			},
		},
	)
	return cmd
}

// object is a stream or a consumer of the contract and how to deal with it.
type object struct {
	what, name string
	// load compares it with what there is, and returns how to correct that; missing says
	// that there is nothing.
	load   func(ctx context.Context) (found []difference, correct func(context.Context) error, missing bool, err error)
	create func(ctx context.Context) error
}

func (c *cli) contract(cfg config.Config, js jetstream.JetStream) []object {
	replicas := c.lookup("NATS_REPLICAS") != ""
	var all []object
	for _, want := range message.Streams(cfg.NATSReplicas) {
		fields := streamFields(want, replicas)
		all = append(all, object{
			what: "stream", name: want.Name,
			load: func(ctx context.Context) ([]difference, func(context.Context) error, bool, error) {
				s, err := js.Stream(ctx, want.Name)
				if errors.Is(err, jetstream.ErrStreamNotFound) {
					return nil, nil, true, nil
				}
				if err != nil {
					return nil, nil, false, err
				}
				has := s.CachedInfo().Config
				found := slices.Concat(compare(fields, want, has), streamWarnings(want, has), replicaWarnings(s.CachedInfo().Cluster))
				return found, func(ctx context.Context) error {
					_, err := js.UpdateStream(ctx, merge(fields, want, has))
					return err
				}, false, nil
			},
			create: func(ctx context.Context) error {
				_, err := js.CreateStream(ctx, want)
				return err
			},
		})
	}
	for _, want := range message.Consumers() {
		all = append(all, object{
			what: "consumer", name: want.Durable,
			load: func(ctx context.Context) ([]difference, func(context.Context) error, bool, error) {
				s, err := js.Consumer(ctx, message.RequestsStream, want.Durable)
				switch {
				case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
					return nil, nil, true, nil
				case errors.Is(err, jetstream.ErrNotPullConsumer):
					return []difference{{Field: "delivery", Has: "push", Want: "pull", fixed: true}}, nil, false, nil
				case err != nil:
					return nil, nil, false, err
				}
				of, err := js.Stream(ctx, message.RequestsStream)
				if err != nil {
					return nil, nil, false, err
				}
				has := s.CachedInfo().Config
				return append(compare(consumerFields, want, has), consumerWarnings(of.CachedInfo().Config, has)...), func(ctx context.Context) error {
					_, err := js.UpdateConsumer(ctx, message.RequestsStream, merge(consumerFields, want, has))
					return err
				}, false, nil
			},
			create: func(ctx context.Context) error {
				_, err := js.CreateConsumer(ctx, message.RequestsStream, want)
				return err
			},
		})
	}
	return all
}

// applied is what became of one object.
type applied struct {
	What    string       `json:"what"` // stream, consumer
	Name    string       `json:"name"`
	Did     string       `json:"did"` // created, updated, unchanged, failed
	Changes []difference `json:"changes,omitempty"`
	Error   string       `json:"error,omitempty"`
}

func (c *cli) streamsApply(ctx context.Context, cfg config.Config, js jetstream.JetStream) error {
	var all []applied
	failures := 0
	for _, o := range c.contract(cfg, js) {
		a, err := o.apply(ctx)
		if err != nil {
			failures++
			a.Did, a.Error = "failed", err.Error()
		}
		all = append(all, a)
	}
	t := table{head: []string{"", "NAME", "RESULT", "DETAIL"}}
	for _, a := range all {
		detail := a.Error
		if detail == "" {
			detail = sentences(a.Changes)
		}
		t.add(a.What, a.Name, a.Did, detail)
	}
	if err := c.print(all, t.write); err != nil {
		return err
	}
	switch {
	case failures == len(all):
		return errors.New("nothing could be applied")
	case failures > 0:
		return exitf(exitPartly, "%d of %d could not be applied", failures, len(all))
	}
	return nil
}

// apply makes one object as the contract has it.
func (o object) apply(ctx context.Context) (applied, error) {
	a := applied{What: o.what, Name: o.name, Did: "unchanged"}
	found, correct, missing, err := o.load(ctx)
	if err != nil {
		return a, err
	}
	if missing {
		a.Did = "created"
		return a, o.create(ctx)
	}
	for _, d := range found {
		if d.Warning != "" {
			continue
		}
		if d.fixed {
			return a, fmt.Errorf("%s, which NATS does not change: move what it holds, delete it and apply again", d)
		}
		a.Changes = append(a.Changes, d)
	}
	if len(a.Changes) == 0 {
		return a, nil
	}
	a.Did = "updated"
	return a, correct(ctx)
}

// verified is what was found out about one object.
type verified struct {
	What     string       `json:"what"`
	Name     string       `json:"name"`
	OK       bool         `json:"ok"`
	Missing  bool         `json:"missing,omitempty"`
	Differs  []difference `json:"differs,omitempty"`
	Warnings []difference `json:"warnings,omitempty"`
}

func (c *cli) streamsVerify(ctx context.Context, cfg config.Config, js jetstream.JetStream) error {
	var all []verified
	wrong := 0
	for _, o := range c.contract(cfg, js) {
		found, _, missing, err := o.load(ctx)
		if err != nil {
			return fmt.Errorf("%s %s: %w", o.what, o.name, err)
		}
		v := verified{What: o.what, Name: o.name, Missing: missing}
		for _, d := range found {
			if d.Warning != "" {
				v.Warnings = append(v.Warnings, d)
			} else {
				v.Differs = append(v.Differs, d)
			}
		}
		if v.OK = !missing && len(v.Differs) == 0; !v.OK {
			wrong++
		}
		all = append(all, v)
	}
	err := c.print(all, func(w io.Writer) error { return writeVerified(w, all) })
	if err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d differ from the contract: esimctl streams apply corrects what can be corrected", wrong, len(all))
	}
	return nil
}

func writeVerified(w io.Writer, all []verified) error {
	t := table{head: []string{"", "NAME", "RESULT", "DETAIL"}}
	for _, v := range all {
		if v.OK {
			t.add(v.What, v.Name, "ok", "")
		}
		if v.Missing {
			t.add(v.What, v.Name, "missing", "")
		}
		for _, d := range v.Differs {
			t.add(v.What, v.Name, "differs", d.String())
		}
		for _, d := range v.Warnings {
			t.add(v.What, v.Name, "warning", d.String())
		}
	}
	return t.write(w)
}

// sentences is the changes one after the other, as they were made.
func sentences(changes []difference) string {
	var parts []string
	for _, d := range changes {
		parts = append(parts, fmt.Sprintf("%s: %s → %s", d.Field, d.Has, d.Want))
	}
	return strings.Join(parts, "; ")
}
