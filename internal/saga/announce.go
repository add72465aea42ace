package saga

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"esimflow/internal/message"
	"esimflow/internal/outbox"
	"esimflow/internal/pressone"
)

// announce adds the messages that a decision owes: a result at every end, a dead letter's
// copy, and its removal once the letter is resolved.
func (p Policy) announce(d *Decision, e Event, now time.Time) error {
	switch {
	case d.After.State == Notifying:
		return d.completed(now)
	case d.After.State == DeadLettered:
		return d.deadLettered(e, now)
	case d.Resolved != "":
		id := deadLetterID(d.Before.ID, d.Before.Ends)
		d.Messages = append(d.Messages, outbox.Forget(id))
	}
	return nil
}

func (d *Decision) completed(now time.Time) error {
	s := d.After
	order := s.Purchase.Order
	data := message.CompletedData{
		SagaID: s.ID.String(), Kind: s.Kind, RequestID: s.RequestID, ICCID: s.ICCID,
		Order: message.OrderData{
			ID: order.ID, Code: order.Code, PackageID: cmp.Or(order.PackageID, s.PackageID), Quantity: cmp.Or(order.Quantity, s.Quantity),
			Price: json.Number(order.Price), Currency: order.Currency,
		},
		Attempts: s.Attempts, RequestedAt: s.RequestedAt.UTC(), CompletedAt: now.UTC(), Metadata: s.Source.Metadata,
	}
	if !order.CreatedAt.IsZero() {
		at := order.CreatedAt.UTC()
		data.Order.CreatedAt = &at
	}
	if s.Kind == message.Order {
		for _, sim := range order.Sims {
			data.ESIMs = append(data.ESIMs, esim(sim))
		}
	}
	return d.event(message.Completed, now, data, s.ID)
}

func (d *Decision) deadLettered(e Event, now time.Time) error {
	s := d.After
	purchased := message.PurchasedNo
	switch {
	case s.StoppedIn == Unknown:
		purchased = message.PurchasedUnknown
	case s.OrderID != 0:
		purchased = message.PurchasedYes
	}
	letter := message.DeadLetter{
		ID: deadLetterID(s.ID, s.Ends).String(), Kind: s.Kind, SagaID: s.ID.String(), RequestID: s.RequestID,
		Code: e.Code, Class: e.Class, Reason: e.Seen, State: string(d.Before.State), Attempts: s.Attempts,
		Purchased: purchased, Replayable: e.Class != ClassRecycled, Time: now,
		SourceSubject: s.Source.Subject, SourceSequence: s.Source.Sequence, Header: s.Source.Header, Body: s.Source.Body,
	}
	d.DeadLetter = &letter
	d.Messages = append(d.Messages, outbox.Message{Message: letter.Message(), DeadLetter: uuid.MustParse(letter.ID)})
	return d.event(message.Failed, now, message.FailedData{
		SagaID: letter.SagaID, Kind: s.Kind, RequestID: s.RequestID, Code: letter.Code, Class: letter.Class,
		Reason: letter.Reason, Purchased: purchased, Replayable: letter.Replayable, DeadLetterID: letter.ID,
		Attempts: s.Attempts, Metadata: s.Source.Metadata,
	}, uuid.Nil)
}

func (d *Decision) event(o message.Outcome, now time.Time, data any, completes uuid.UUID) error {
	s := d.After
	trace := message.Header(s.Source.Header, "traceparent")
	m, err := message.Event(s.Kind, o, s.ID.String(), s.Ends, s.RequestID, trace, now.UTC(), data)
	if err != nil {
		return fmt.Errorf("saga: %w", err)
	}
	d.Messages = append(d.Messages, outbox.Message{Message: m, Saga: completes})
	return nil
}

// DeadLetter is the id of the letter of the saga's last end.
func (s Saga) DeadLetter() uuid.UUID { return deadLetterID(s.ID, s.Ends) }

// deadLetterID is the same whenever it is asked for: a saga's n-th end has one letter.
func deadLetterID(saga uuid.UUID, end int) uuid.UUID {
	return uuid.NewSHA1(saga, fmt.Appendf(nil, "dead letter %d", end))
}

// esim reveals the codes: that is what a result is for.
func esim(s pressone.Sim) message.ESIMData {
	return message.ESIMData{
		ICCID: s.ICCID, LPA: s.LPA.Reveal(), MatchingID: s.MatchingID.Reveal(), ActivationCode: s.QRCode.Reveal(),
		QRCodeURL: s.QRCodeURL.Reveal(), DirectAppleInstallationURL: s.DirectAppleInstallationURL.Reveal(),
		APNType: s.APNType, APNValue: s.APNValue, IsRoaming: s.IsRoaming,
		ConfirmationCode: (*string)(s.ConfirmationCode), MSISDN: s.MSISDN,
	}
}
