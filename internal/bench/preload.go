package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"esimflow/internal/message"
)

// A preload is written by number: everything about the i-th saga follows from i, so that
// each table can be filled by a statement of its own. $1 and $2 are the numbers, from and
// to, $3 and $4 the time of number 0 and the time between two.
const (
	preloadRows = `
FROM (
    SELECT i, at, h, 10000000 + i AS order_id, translate(substr(md5('reference ' || i), 1, 26), '0189', 'ghij') AS reference,
        -- version 7, as ours are: new rows go to the end of the index
        (lpad(to_hex((EXTRACT(EPOCH FROM at) * 1000)::bigint), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4, 15))::uuid AS id
    FROM (
        SELECT i, md5(i::text) AS h, $3::timestamptz + i * $4::interval AS at
        FROM generate_series($1::bigint, $2::bigint) AS i
    ) numbers
) x`

	finishedSQL = `
INSERT INTO saga (id, kind, request_id, state, version, deadline_at, reference, fingerprint, package_id, quantity,
    attempts, tries, intent_at, intent_deadline, order_id, ends, requested_at, created_at, updated_at)
SELECT id, 'order', 'preload-' || lpad(i::text, 9, '0'), 'completed', 4, at + interval '75 minutes', reference, $5, $6, 1,
    1, 1, at, at + interval '1 minute', order_id, 1, at, at, at + interval '7 milliseconds'` + preloadRows

	// Half of them were refused for the moment, half are bought and not ready.
	waitingSQL = `
INSERT INTO saga (id, kind, request_id, state, version, due_at, deadline_at, reference, fingerprint, package_id, quantity,
    attempts, tries, failures, intent_at, intent_deadline, order_id, requested_at, created_at, updated_at)
SELECT id, 'order', 'preload-' || lpad(i::text, 9, '0'), CASE i % 2 WHEN 0 THEN 'pending' ELSE 'polling' END, 2 + i % 2,
    now() + interval '4 days' + random() * interval '5 days', now() + interval '30 days', reference, $5, $6, 1,
    1, 1, 1, at, at + interval '1 minute', CASE i % 2 WHEN 1 THEN order_id END, at, at, at + interval '7 milliseconds'` + preloadRows

	preloadRequestsSQL = `
INSERT INTO saga_request (saga_id, subject, sequence, headers, body, metadata)
SELECT id, 'esim.request.order', i, '{}', convert_to(format(
    '{"request_id":"preload-%s","package_id":"%s","quantity":1,"metadata":{"customer":"c-%s"}}', lpad(i::text, 9, '0'), $5::text, i), 'UTF8'),
    convert_to('{"customer":"c-' || i || '"}', 'UTF8')` + preloadRows

	// The cast checks that it is JSON.
	preloadAnswersSQL = `
INSERT INTO saga_answer (saga_id, at, attempt, status, body)
SELECT id, at + interval '3 milliseconds', 1, 200, convert_to(format('{"data":{"id":%1$s,"code":"20261122-%1$s","currency":"USD",'
    '"package_id":"%2$s","quantity":"1","type":"sim","description":"%3$s","esim_type":"Prepaid","validity":7,'
    '"package":"Kallur Digital-1 GB - 7 Days","data":"1 GB","price":9.5,"net_price":7.6,"pricing_model":"net_pricing","created_at":"%4$s",'
    '"manual_installation":"","qrcode_installation":"\u003cp\u003eScan the QR code.\u003c/p\u003e",'
    '"installation_guides":{"en":"https://guides.pressone.example/installation"},"text":null,"voice":null,"brand_settings_name":null,'
    '"sims":[{"id":%1$s,"created_at":"%4$s","iccid":"8934072%5$s","lpa":"rsp.pressone.example","imsis":null,"matching_id":"%6$s",'
    '"qrcode":"LPA:1$rsp.pressone.example$%6$s",'
    '"qrcode_url":"https://pressone.example/qr?id=8934072%5$s\u0026expires=20261123210735\u0026signature=%6$s",'
    '"direct_apple_installation_url":"https://esimsetup.apple.com/esim_qrcode_provisioning?carddata=LPA:1$rsp.pressone.example$%6$s",'
    '"apn_type":"automatic","apn_value":null,"is_roaming":true,"confirmation_code":null,'
    '"apn":{"ios":{"apn_type":"automatic","apn_value":null},"android":{"apn_type":"automatic","apn_value":null}},"msisdn":null}]},'
    '"meta":{"message":"success"}}',
    order_id, $5::text, reference, to_char(at, 'YYYY-MM-DD HH24:MI:SS'), lpad(i::text, 12, '0'), substr(upper(h), 1, 20))::json::text, 'UTF8')` +
		preloadRows + `
WHERE NOT $6 OR i % 2 = 1`

	finishedHistorySQL = `
INSERT INTO saga_history (saga_id, version, at, event, from_state, to_state, attempt, seen)
SELECT id, e.version, at + e.after, e.event, e.from_state, e.to_state, 1, replace(e.seen, '#', order_id::text)` + preloadRows + `
CROSS JOIN (VALUES
    (1, interval '0', 'accepted', NULL, 'submitting', ''),
    (2, interval '3 ms', 'submitted', 'submitting', 'polling', 'order # (20261122-#), 1 of 1 eSIMs, 9.5 USD'),
    (3, interval '5 ms', 'ready', 'polling', 'notifying', '1 of 1 eSIMs can be installed'),
    (4, interval '7 ms', 'announced', 'notifying', 'completed', '')
) e (version, after, event, from_state, to_state, seen)`

	waitingHistorySQL = `
INSERT INTO saga_history (saga_id, version, at, event, from_state, to_state, attempt, seen)
SELECT id, e.version, at + e.after, e.event, e.from_state, e.to_state, 1, replace(e.seen, '#', order_id::text)` + preloadRows + `
JOIN (VALUES
    (0, 1, interval '0', 'accepted', NULL, 'submitting', ''),
    (0, 2, interval '7 ms', 'not_applied', 'submitting', 'pending', 'HTTP 429'),
    (1, 1, interval '0', 'accepted', NULL, 'submitting', ''),
    (1, 2, interval '3 ms', 'submitted', 'submitting', 'polling', 'order # (20261122-#), 1 of 1 eSIMs, 9.5 USD'),
    (1, 3, interval '7 ms', 'not_ready', 'polling', 'polling', 'eSIM 1 of 1 cannot be installed yet')
) e (odd, version, after, event, from_state, to_state, seen) ON e.odd = i % 2`
)

// Where preloaded sagas lie in time: the finished ones before what the audit reads and
// within the retention.
const (
	finishedSince = 60 * 24 * time.Hour
	finishedUntil = 5 * 24 * time.Hour
	waitingSince  = 2 * 24 * time.Hour
)

// preloadChunk is how many sagas are written in a transaction, preloaders how many at the
// same time.
const (
	preloadChunk = 100_000
	preloaders   = 2
)

// waitingEnv makes waits of days something that workers plan for: they would bring back
// what waits longer than any back-off. No back-off happens in a bench.
var waitingEnv = []string{"RETRY_MAX=24h", "POLL_MAX=240h"}

// preloadLasts is how long a preload can be used: then what waits in it becomes due.
const preloadLasts = 3 * 24 * time.Hour

// preload is what a database holds, as its comment says once it is complete.
type preload struct {
	finished, waiting int
	until             time.Time // it can be used
}

const preloadFormat = "esimflow bench: %d finished, %d waiting, until %s"

func (p preload) comment() string {
	return fmt.Sprintf(preloadFormat, p.finished, p.waiting, p.until.UTC().Format(time.RFC3339))
}

// parsePreload reads a database's comment. One that says something else is no preload.
func parsePreload(comment string) (p preload, ok bool) {
	var until string
	if n, err := fmt.Sscanf(comment, preloadFormat, &p.finished, &p.waiting, &until); n < 3 || err != nil {
		return preload{}, false
	}
	var err error
	p.until, err = time.Parse(time.RFC3339, until)
	return p, err == nil
}

const preloadedSQL = `
SELECT COALESCE(max(shobj_description(oid, 'pg_database')), '')
FROM pg_database
WHERE datname = 'esimflow'`

// preloaded reports whether the database holds what is to be preloaded. One that holds
// another preload, which may have taken long, is not thrown away.
func (s *stack) preloaded(ctx context.Context) (bool, error) {
	var comment string
	if err := s.admin.QueryRow(ctx, preloadedSQL).Scan(&comment); err != nil {
		return false, fmt.Errorf("bench: preload: %w", err)
	}
	p, ok := parsePreload(comment)
	switch {
	case !ok:
		return false, nil
	case p.finished != s.cfg.Preload || p.waiting != s.cfg.PreloadWaiting:
		return false, fmt.Errorf("bench: %s holds %d finished and %d waiting sagas: ask for as many, or name another directory, or remove this one",
			s.dir, p.finished, p.waiting)
	case time.Now().After(p.until):
		s.say("The preload has become too old: what waits in it is due soon.")
		return false, nil
	}
	return true, nil
}

// chunk is sagas of a preload, by number.
type chunk struct {
	from, to int
	waiting  bool
}

// fill fills the tables.
func (s *stack) fill(ctx context.Context) error {
	total := s.cfg.Preload + s.cfg.PreloadWaiting
	if total == 0 {
		return nil
	}
	var done atomic.Int64
	begun := time.Now()
	g, loading := errgroup.WithContext(ctx)
	g.SetLimit(preloaders)
	for from := 0; from < total; {
		c := chunk{from: from, to: min(from+preloadChunk, total) - 1, waiting: from >= s.cfg.Preload}
		if !c.waiting {
			c.to = min(c.to, s.cfg.Preload-1)
		}
		from = c.to + 1
		g.Go(func() error {
			if err := s.load(loading, c, begun); err != nil {
				return err
			}
			s.say("Preloading: %d of %d sagas, %v", done.Add(int64(c.to-c.from+1)), total, time.Since(begun).Round(time.Second))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.say("Preloading: VACUUM (ANALYZE) …")
	if err := s.vacuum(ctx); err != nil {
		return err
	}
	comment := preload{s.cfg.Preload, s.cfg.PreloadWaiting, begun.Add(preloadLasts)}.comment()
	return errors.Join(s.exec(ctx, `CHECKPOINT`), s.exec(ctx, `COMMENT ON DATABASE esimflow IS '`+comment+`'`))
}

// load writes a chunk in one transaction.
func (s *stack) load(ctx context.Context, c chunk, now time.Time) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	sagas, history := finishedSQL, finishedHistorySQL
	first, step := now.Add(-finishedSince), (finishedSince-finishedUntil)/time.Duration(max(s.cfg.Preload, 1))
	if c.waiting {
		sagas, history = waitingSQL, waitingHistorySQL
		step = waitingSince / time.Duration(s.cfg.PreloadWaiting)
		first = now.Add(-waitingSince - time.Duration(s.cfg.Preload)*step)
	}
	meaning := message.Request{Kind: message.Order, PackageID: orderPackage, Quantity: 1}.Fingerprint()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var b pgx.Batch
		b.Queue(`SET LOCAL synchronous_commit = off`)
		b.Queue(`SET LOCAL session_replication_role = replica`)
		b.Queue(sagas, c.from, c.to, first, step, meaning, orderPackage)
		b.Queue(preloadRequestsSQL, c.from, c.to, first, step, orderPackage)
		b.Queue(preloadAnswersSQL, c.from, c.to, first, step, orderPackage, c.waiting)
		b.Queue(history, c.from, c.to, first, step)
		return tx.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return fmt.Errorf("bench: preload: %w", err)
	}
	return nil
}
