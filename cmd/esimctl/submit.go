package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"esimflow/internal/config"
	"esimflow/internal/message"
)

// submission is the flags of order submit and topup submit.
type submission struct {
	kind        message.Kind
	packageID   string
	quantity    int
	iccid       string
	requestID   string
	description string
	metadata    string
	wait        bool
	timeout     time.Duration
	reveal      bool
}

const submitLong = `

The request is checked here first, as the worker does it. --request-id is the key that keeps
it from being bought twice: submitting it again with the same meaning changes nothing. It is
generated if it is not given.

With --wait, its result is waited for and printed; a result that says failed exits 1. A
request that was accepted earlier gets no new result, so --wait also looks at the results
that are on the stream already, and says if it found one there; with --request-id that reads
the stream from its beginning. Activation codes are printed only with --reveal: whoever sees
one can install the eSIM.`

func newOrderCommand(c *cli) *cobra.Command {
	s := submission{kind: message.Order}
	submit := &cobra.Command{
		Use:     "submit --package PACKAGE",
		Short:   "Publish a request to buy eSIMs",
		Long:    "Publish a request to buy eSIMs on " + message.RequestSubject(message.Order) + "." + submitLong,
		Example: `  esimctl order submit --package kallur-digital-7days-1gb --quantity 2 --request-id ord-7f3a --wait`,
	}
	submit.Flags().IntVar(&s.quantity, "quantity", 1, fmt.Sprintf("how many eSIMs, 1 to %d", message.MaxQuantity))
	cmd := &cobra.Command{Use: "order", Short: "Buy eSIMs", Long: "Buy eSIMs, by publishing a request as upstream does."}
	cmd.AddCommand(c.submitCommand(submit, &s))
	return cmd
}

func newTopupCommand(c *cli) *cobra.Command {
	s := submission{kind: message.Topup}
	submit := &cobra.Command{
		Use:     "submit --iccid ICCID --package PACKAGE",
		Short:   "Publish a request to top up an eSIM",
		Long:    "Publish a request to top up an eSIM on " + message.RequestSubject(message.Topup) + "." + submitLong,
		Example: `  esimctl topup submit --iccid 8934000000000008728 --package bonbon-mobile-30days-3gb-topup --wait`,
	}
	submit.Flags().StringVar(&s.iccid, "iccid", "", "the eSIM, 18 to 22 digits (required)")
	cmd := &cobra.Command{Use: "topup", Short: "Top up an eSIM", Long: "Top up an eSIM, by publishing a request as upstream does."}
	cmd.AddCommand(c.submitCommand(submit, &s))
	return cmd
}

func (c *cli) submitCommand(cmd *cobra.Command, s *submission) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&s.packageID, "package", "", "the package to buy (required)")
	f.StringVar(&s.requestID, "request-id", "", "idempotency key (default: generated)")
	f.StringVar(&s.description, "description", "", "for people; PressOne does not see it")
	f.StringVar(&s.metadata, "metadata", "", "JSON object that the result repeats")
	f.BoolVar(&s.wait, "wait", false, "wait for the result and print it")
	f.DurationVar(&s.timeout, "timeout", 5*time.Minute, "how long to wait for it")
	f.BoolVar(&s.reveal, "reveal", false, "print activation codes")
	cmd.Args = none
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.submit(cmd.Context(), *s) }
	return cmd
}

// submitted is what submit prints.
type submitted struct {
	RequestID string          `json:"request_id"`
	Subject   string          `json:"subject"`
	Sequence  uint64          `json:"sequence"`          // on ESIM_REQUESTS
	Earlier   bool            `json:"earlier,omitempty"` // the result was there before
	Event     json.RawMessage `json:"event,omitempty"`   // the result, with --wait
}

func (c *cli) submit(ctx context.Context, s submission) error {
	if s.packageID == "" {
		return usagef("--package is missing: the package to buy")
	}
	if s.kind == message.Topup && s.iccid == "" {
		return usagef("--iccid is missing: the eSIM, 18 to 22 digits")
	}
	generated := s.requestID == ""
	if generated {
		s.requestID = "esimctl-" + uuid.NewString()
	}
	if s.wait && s.timeout <= 0 {
		return usagef("--timeout %s is not more than zero", s.timeout)
	}
	body, err := s.body()
	if err != nil {
		return err
	}
	return c.withNATS(ctx, func(ctx context.Context, _ config.Config, js jetstream.JetStream) error {
		var results *results
		if s.wait {
			// Before the request is published, so that its result cannot be missed.
			if results, err = watchResults(ctx, js, s.kind, s.requestID, !generated); err != nil {
				return err
			}
			defer results.stop()
		}
		done := submitted{RequestID: s.requestID, Subject: message.RequestSubject(s.kind)}
		if done.Sequence, err = publish(ctx, js, done.Subject, body); err != nil {
			return err
		}
		if !s.wait {
			return c.print(done, func(w io.Writer) error { return done.write(w) })
		}
		c.say("Published %s as message %d of %s; waiting for its result …", s.requestID, done.Sequence, message.RequestsStream)
		waiting, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		r, err := results.next(waiting)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted: the request is published all the same; see esimctl saga show %s", s.requestID)
		case waiting.Err() != nil:
			return fmt.Errorf("no result within %s: the request is published; see esimctl saga show %s", s.timeout, s.requestID)
		case err != nil:
			return err
		}
		return c.showResult(s, done, r)
	})
}

// body is the request as upstream would write it, checked as the worker checks it.
func (s submission) body() ([]byte, error) {
	request := map[string]any{"request_id": s.requestID, "package_id": s.packageID}
	switch s.kind {
	case message.Order:
		request["quantity"] = s.quantity
	case message.Topup:
		request["iccid"] = s.iccid
	}
	if s.description != "" {
		request["description"] = s.description
	}
	if s.metadata != "" {
		if !json.Valid([]byte(s.metadata)) {
			return nil, usagef("--metadata is not JSON")
		}
		request["metadata"] = json.RawMessage(s.metadata)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if _, err := message.DecodeRequest(s.kind, nil, body); err != nil {
		return nil, usagef("the request is not right:\n%s", strings.ReplaceAll(err.Error(), "message: ", "  "))
	}
	return body, nil
}

// publish puts the request on the stream and returns its sequence there.
func publish(ctx context.Context, js jetstream.JetStream, subject string, body []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, natsTimeout)
	defer cancel()
	m := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{"Content-Type": {"application/json"}}}
	ack, err := js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return 0, fmt.Errorf("no stream takes %s: run esimctl streams apply", subject)
	case err != nil:
		return 0, fmt.Errorf("the request may not have been published: %w\n"+
			"Submitting it again with the same --request-id cannot buy it twice", err)
	case ack.Stream != message.RequestsStream:
		return 0, fmt.Errorf("%s went to stream %s, not %s: run esimctl streams verify", subject, ack.Stream, message.RequestsStream)
	}
	return ack.Sequence, nil
}

func (d submitted) write(w io.Writer) error {
	return writeFields(w, "request", d.RequestID, "published", fmt.Sprintf("message %s of %s",
		strconv.FormatUint(d.Sequence, 10), message.RequestsStream))
}
