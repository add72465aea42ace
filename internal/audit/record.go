package audit

import (
	"context"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

// A finding that an operator has dismissed stays dismissed; one that was settled and is
// there again is open again. Of an order whose saga was erased nothing is noted that is personal.
const recordSQL = `
INSERT INTO audit_finding (id, finding, order_id, saga_id, data, why, advice, run_id, status, resolved_at)
VALUES ($1, $2, $3, $4,
        CASE WHEN EXISTS (SELECT FROM saga_erased WHERE saga_id = $4) THEN ($5::jsonb - 'iccids' - 'description')::json ELSE $5::json END,
        $6, $7, $8, $9, CASE WHEN $9 <> 'open' THEN now() END)
ON CONFLICT ON CONSTRAINT audit_finding_once DO UPDATE
SET saga_id = excluded.saga_id, data = excluded.data, why = excluded.why, advice = excluded.advice,
    run_id = excluded.run_id, last_seen = now(),
    status = CASE WHEN audit_finding.status = 'dismissed' THEN audit_finding.status ELSE excluded.status END,
    resolved_at = CASE WHEN audit_finding.status = 'dismissed' THEN audit_finding.resolved_at ELSE excluded.resolved_at END
RETURNING (xmax = 0)`

// record keeps a finding.
func (a *Auditor) record(ctx context.Context, run Run, o pressone.Order, v verdict, status Status) error {
	var sagaID *uuid.UUID
	if v.saga != nil {
		sagaID = &v.saga.ID
	}
	data := dataOf(o)
	for _, text := range []*string{&data.Code, &data.PackageID, &data.Type, &data.Currency, &data.Status, &data.Description} {
		*text = strings.ToValidUTF8(strings.ReplaceAll(*text, "\x00", ""), "?")
	}
	var isNew bool
	err := a.DB.QueryRow(ctx, recordSQL, uuid.Must(uuid.NewV7()), v.kind, o.ID, sagaID, data, saga.Clean(v.why), saga.Clean(v.advice),
		run.ID, status).Scan(&isNew)
	if err == nil && isNew {
		a.Metrics.found(v.kind)
		a.Log.ErrorContext(ctx, "the audit has found something", "finding", v.kind, "order_id", o.ID, "saga_id", sagaID,
			"status", status, "why", v.why)
	}
	return wrap("record", err)
}

const settleSQL = `
UPDATE audit_finding
SET status = 'settled', resolved_at = now(), note = $3
WHERE status = 'open' AND finding = ANY($1) AND order_id = ANY($2)`

// settle closes open findings about orders that are seen to be all right.
func (a *Auditor) settle(ctx context.Context, orders []int64, why string, kinds ...Kind) error {
	if len(orders) == 0 {
		return nil
	}
	_, err := a.DB.Exec(ctx, settleSQL, kinds, orders, why)
	return wrap("settle", err)
}

const settleOwnedSQL = `
UPDATE audit_finding f
SET status = 'settled', resolved_at = now(), note = 'a saga owns the order'
FROM saga s
WHERE f.status = 'open' AND f.finding IN ('orphan', 'double') AND s.order_id = f.order_id`

// settleOwned closes findings about orders that sagas have come to own: operators adopt.
func (a *Auditor) settleOwned(ctx context.Context) error {
	_, err := a.DB.Exec(ctx, settleOwnedSQL)
	return wrap("settle", err)
}

const findingColumns = `
    f.id, f.finding, f.order_id, f.data, f.saga_id, COALESCE(s.request_id, '') AS request_id, f.why, f.advice, f.run_id,
    f.status, f.first_seen, f.last_seen, f.resolved_at, f.actor, f.note`

const findingsOfRunSQL = `
SELECT` + findingColumns + `
FROM audit_finding f
LEFT JOIN saga s ON s.id = f.saga_id
WHERE f.run_id = $1
ORDER BY f.finding, f.order_id
LIMIT 10000`

const findingsSQL = `
SELECT` + findingColumns + `
FROM audit_finding f
LEFT JOIN saga s ON s.id = f.saga_id
WHERE $1 = '' OR f.status = $1
ORDER BY f.first_seen DESC
LIMIT $2`

const findingSQL = `
SELECT` + findingColumns + `
FROM audit_finding f
LEFT JOIN saga s ON s.id = f.saga_id
WHERE f.id = $1`

func (a *Auditor) findings(ctx context.Context, sql string, args ...any) ([]Finding, error) {
	rows, err := a.DB.Query(ctx, sql, args...)
	if err != nil {
		return nil, wrap("findings", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Finding])
	return all, wrap("findings", err)
}

// Findings lists findings, the latest first; status "" is any.
func (a *Auditor) Findings(ctx context.Context, status Status, limit int) ([]Finding, error) {
	return a.findings(ctx, findingsSQL, status, limit)
}

const dismissSQL = `
UPDATE audit_finding
SET status = 'dismissed', resolved_at = now(), actor = $2, note = $3
WHERE id = $1 AND status = 'open'`

// Dismiss closes an open finding: an operator has dealt with it. The audit does not open
// it again. The error is ErrNotFound or a *RefusedError.
func (a *Auditor) Dismiss(ctx context.Context, id uuid.UUID, actor, reason string) (Finding, error) {
	tag, err := a.DB.Exec(ctx, dismissSQL, id, saga.Clean(actor), saga.Clean(reason))
	if err != nil {
		return Finding{}, wrap("dismiss", err)
	}
	all, err := a.findings(ctx, findingSQL, id)
	switch {
	case err != nil:
		return Finding{}, err
	case len(all) == 0:
		return Finding{}, ErrNotFound
	case tag.RowsAffected() == 0:
		return Finding{}, &RefusedError{"it is " + string(all[0].Status) + " already"}
	}
	a.Log.InfoContext(ctx, "operator acted", "finding_id", id, "event", "dismissed", "actor", actor, "reason", reason)
	return all[0], a.measure(ctx)
}
