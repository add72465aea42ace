package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/message"
)

// result is a result event of one request.
type result struct {
	body    []byte
	earlier bool // it was on the stream before the request was published
}

// results reads the results of one request.
type results struct {
	requestID string
	iter      jetstream.MessagesContext
	last      uint64 // sequence of the last result that was there before
	behind    bool   // not all of those have been read
}

// watchResults begins to read results of that kind: from now on, or with past from the
// beginning of the stream.
func watchResults(ctx context.Context, js jetstream.JetStream, k message.Kind, requestID string, past bool) (*results, error) {
	stream, err := js.Stream(ctx, message.EventsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("there is no stream %s: run esimctl streams apply", message.EventsStream)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", message.EventsStream, err)
	}
	r := &results{requestID: requestID, last: stream.CachedInfo().State.LastSeq}
	cfg := jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{message.EventSubject(k, message.Completed), message.EventSubject(k, message.Failed)},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.last + 1,
	}
	if past {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverAllPolicy, 0
	}
	consumer, err := stream.OrderedConsumer(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", message.EventsStream, err)
	}
	r.behind = past && consumer.CachedInfo().NumPending > 0
	if r.iter, err = consumer.Messages(); err != nil {
		return nil, fmt.Errorf("%s: %w", message.EventsStream, err)
	}
	return r, nil
}

func (r *results) stop() { r.iter.Stop() }

// next returns the request's result: the latest of those that were there before, or the
// first one that comes.
func (r *results) next(ctx context.Context) (result, error) {
	var earlier *result
	for {
		if !r.behind && earlier != nil {
			return *earlier, nil
		}
		m, err := r.iter.Next(jetstream.NextContext(ctx))
		if err != nil {
			return result{}, fmt.Errorf("%s: %w", message.EventsStream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return result{}, err
		}
		isNew := meta.Sequence.Stream > r.last
		if isNew || meta.NumPending == 0 {
			r.behind = false
		}
		var e struct {
			Subject string `json:"subject"`
		}
		if json.Unmarshal(m.Data(), &e) != nil || e.Subject != r.requestID {
			continue
		}
		if isNew {
			return result{body: m.Data()}, nil
		}
		earlier = &result{body: m.Data(), earlier: true}
	}
}

// outcome is the data of a result.
type outcome struct {
	completed message.CompletedData
	failed    *message.FailedData // nil if it is completed
}

func readOutcome(event []byte) (outcome, error) {
	var o outcome
	var e struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return o, fmt.Errorf("the result cannot be read: %w", err)
	}
	var failed message.FailedData
	if err := errors.Join(json.Unmarshal(e.Data, &failed), json.Unmarshal(e.Data, &o.completed)); err != nil {
		return o, fmt.Errorf("the result cannot be read: %w", err)
	}
	if failed.DeadLetterID != "" {
		o.failed = &failed
	}
	return o, nil
}

// showResult prints a result; a failed one is an error.
func (c *cli) showResult(s submission, done submitted, r result) error {
	body := r.body
	var err error
	if !s.reveal {
		if body, err = redact(body); err != nil {
			return err
		}
	}
	got, err := readOutcome(body)
	if err != nil {
		return err
	}
	done.Earlier, done.Event = r.earlier, body
	if r.earlier {
		c.say("This result was there before: the request was accepted earlier, and is not bought again.")
	}
	if err := c.print(done, func(w io.Writer) error { return got.write(w, s.reveal) }); err != nil {
		return err
	}
	if got.failed != nil {
		return fmt.Errorf("failed with code %s; see esimctl dlq show %s", plain(got.failed.Code), plain(got.failed.DeadLetterID))
	}
	if r.earlier && got.another(s) {
		return fmt.Errorf("request id %s was used before for something else: this request becomes a dead letter", s.requestID)
	}
	return nil
}

// another reports whether the result is of a request with another meaning.
func (o outcome) another(s submission) bool {
	d := o.completed
	return d.Order.PackageID != s.packageID || d.ICCID != s.iccid || s.kind == message.Order && d.Order.Quantity != s.quantity
}

func (o outcome) write(w io.Writer, reveal bool) error {
	if d := o.failed; d != nil {
		return writeFields(w, "result", "failed", "request", d.RequestID, "saga", d.SagaID, "code", d.Code, "class", d.Class,
			"reason", d.Reason, "purchased", string(d.Purchased), "dead letter", d.DeadLetterID, "attempts", strconv.Itoa(d.Attempts))
	}
	d := o.completed
	err := writeFields(w, "result", "completed", "request", d.RequestID, "saga", d.SagaID,
		"order", fmt.Sprintf("%d (%s)", d.Order.ID, d.Order.Code), "package", fmt.Sprintf("%d × %s", d.Order.Quantity, d.Order.PackageID),
		"price", d.Order.Price.String()+" "+d.Order.Currency, "iccid", d.ICCID, "attempts", strconv.Itoa(d.Attempts))
	if err != nil || len(d.ESIMs) == 0 {
		return err
	}
	t := table{head: []string{"ICCID", "ACTIVATION CODE"}}
	for _, sim := range d.ESIMs {
		code := sim.ActivationCode
		if !reveal {
			code = redacted + ", --reveal shows it"
		}
		t.add(sim.ICCID, code)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return t.write(w)
}

const redacted = "[redacted]"

// secrets are the members of a result with which an eSIM can be installed.
var secrets = map[string]bool{
	"activation_code": true, "lpa": true, "matching_id": true, "qrcode_url": true,
	"direct_apple_installation_url": true, "confirmation_code": true,
}

// redact is the event without what installs an eSIM. Numbers keep their digits.
func redact(body []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, errors.New("the result is not JSON")
	}
	hide(v)
	return json.Marshal(v)
}

func hide(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if secrets[name] && value != nil && value != "" {
				v[name] = redacted
			} else {
				hide(value)
			}
		}
	case []any:
		for _, value := range v {
			hide(value)
		}
	}
}
