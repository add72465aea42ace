package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"esimflow/internal/outbox"
	"esimflow/internal/seal"
)

// KeyCount is how many values of a column rest under a key.
type KeyCount struct {
	Column string `json:"column"` // table|column
	Key    string `json:"key"`    // its id; empty: they are not encrypted
	Count  int64  `json:"count"`
}

// Reads all of the tables. What was wiped has nothing to encrypt; a result in the outbox
// that is not encrypted is from where no key was, and is gone in a moment.
const keyCountSQL = `
SELECT place AS column, CASE WHEN substring(value FROM 1 FOR 1) = '\x02' THEN encode(substring(value FROM 2 FOR 4), 'hex') ELSE '' END AS key,
       count(*) AS count
FROM (
    SELECT 'saga_answer|body' AS place, substring(body FROM 1 FOR 5) AS value FROM saga_answer
    UNION ALL
    SELECT 'saga_purchase|sealed', CASE WHEN data IS NULL THEN substring(sealed FROM 1 FOR 5) END FROM saga_purchase WHERE wiped_at IS NULL
    UNION ALL
    SELECT 'outbox|body', CASE WHEN next_at IS NULL THEN substring(body FROM 1 FOR 5) END FROM outbox WHERE saga_id IS NOT NULL
    UNION ALL
    SELECT 'provider_token|ciphertext', substring(ciphertext FROM 1 FOR 5) FROM provider_token WHERE ciphertext IS NOT NULL
    UNION ALL
    SELECT 'digest_key|key', substring(key FROM 1 FOR 5) FROM digest_key
) AS all_of_it
GROUP BY 1, 2
ORDER BY 1, 2`

// KeyCounts tells under which keys what is secret rests.
func (st *Store) KeyCounts(ctx context.Context) ([]KeyCount, error) {
	rows, err := st.db.Query(ctx, keyCountSQL)
	if err != nil {
		return nil, translate("keys", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[KeyCount])
	return all, translate("keys", err)
}

// Rewrapped is what became of a column.
type Rewrapped struct {
	Column  string `json:"column"`
	Done    int64  `json:"done"`    // now under the first key
	Missing int64  `json:"missing"` // whose key is not in ENCRYPTION_KEY
	Broken  int64  `json:"broken"`  // that do not open, with any key
}

// rewrapBatch is how many values a commit of Rewrap writes.
const rewrapBatch = 500

// errNoKey says that there is nothing to encrypt with.
var errNoKey = errors.New("saga: there is no key to encrypt with")

// Rewrap encrypts under the first key whatever rests under another one, or under none, and tells progress
// after every commit. It may be interrupted, and run again: it passes by what is done. Whoever writes meanwhile
// is not disturbed, and writes under the first key anyway.
func (st *Store) Rewrap(ctx context.Context, progress func(Rewrapped)) ([]Rewrapped, error) {
	if !st.keys.On() {
		return nil, errNoKey
	}
	var all []Rewrapped
	for _, column := range []struct {
		name string
		walk func(context.Context, *Rewrapped, func()) error
	}{
		{AnswerColumn, st.rewrapAnswers},
		{PurchaseColumn, st.rewrapPurchases},
		{outbox.BodyColumn, st.rewrapOutbox},
		{"provider_token|ciphertext", st.dropToken},
		{DigestColumn, st.rewrapDigestKey},
	} {
		r := Rewrapped{Column: column.name}
		err := column.walk(ctx, &r, func() { progress(r) })
		all = append(all, r)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// head is what begins whatever is sealed under the first key.
func (st *Store) head() []byte {
	id := st.keys.IDs()[0]
	return append([]byte{seal.Mark}, id[:]...)
}

// reseal opens a value, unless it is plain, and seals it anew; nil if it cannot be opened, which is counted.
func (st *Store) reseal(r *Rewrapped, column string, owner uuid.UUID, value []byte, plain bool) []byte {
	place := seal.Place(column, owner)
	if !plain {
		var err error
		value, err = st.keys.Open(value, place)
		switch {
		case errors.Is(err, seal.ErrKeyMissing):
			r.Missing++
			return nil
		case err != nil:
			r.Broken++
			return nil
		}
	}
	return st.keys.Seal(value, place)
}

const oldAnswersSQL = `
SELECT id, saga_id, body
FROM saga_answer
WHERE id > $1 AND substring(body FROM 1 FOR 5) IS DISTINCT FROM $2::bytea
ORDER BY id
LIMIT $3`

const resealAnswersSQL = `
UPDATE saga_answer a
SET body = n.body
FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS n(id, was, body)
WHERE a.id = n.id AND a.body = n.was`

// numbered is a value in a table with numbered rows.
type numbered struct {
	ID     int64
	SagaID uuid.UUID
	Body   []byte
}

func (st *Store) rewrapAnswers(ctx context.Context, r *Rewrapped, done func()) error {
	return st.rewrapNumbered(ctx, r, done, oldAnswersSQL, resealAnswersSQL)
}

const oldMessagesSQL = `
SELECT id, saga_id, body
FROM outbox
WHERE id > $1 AND next_at IS NULL AND saga_id IS NOT NULL AND substring(body FROM 1 FOR 5) IS DISTINCT FROM $2::bytea
ORDER BY id
LIMIT $3`

const resealMessagesSQL = `
UPDATE outbox o
SET body = n.body
FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS n(id, was, body)
WHERE o.id = n.id AND o.next_at IS NULL AND o.body = n.was`

func (st *Store) rewrapOutbox(ctx context.Context, r *Rewrapped, done func()) error {
	return st.rewrapNumbered(ctx, r, done, oldMessagesSQL, resealMessagesSQL)
}

// rewrapNumbered walks a table with numbered rows.
func (st *Store) rewrapNumbered(ctx context.Context, r *Rewrapped, done func(), oldSQL, resealSQL string) error {
	for after := int64(0); ; {
		rows, err := st.db.Query(ctx, oldSQL, after, st.head(), rewrapBatch)
		if err != nil {
			return translate("rewrap", err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByName[numbered])
		if err != nil || len(found) == 0 {
			return translate("rewrap", err)
		}
		after = found[len(found)-1].ID
		var ids []int64
		var was, is [][]byte
		for _, v := range found {
			_, sealed := seal.KeyOf(v.Body)
			if value := st.reseal(r, r.Column, v.SagaID, v.Body, !sealed); value != nil {
				ids, was, is = append(ids, v.ID), append(was, v.Body), append(is, value)
			}
		}
		tag, err := st.db.Exec(ctx, resealSQL, ids, was, is)
		if err != nil {
			return translate("rewrap", err)
		}
		r.Done += tag.RowsAffected()
		done()
	}
}

const oldPurchasesSQL = `
SELECT saga_id, data::text AS data, sealed
FROM saga_purchase
WHERE saga_id > $1 AND wiped_at IS NULL AND (data IS NOT NULL OR substring(sealed FROM 1 FOR 5) IS DISTINCT FROM $2::bytea)
ORDER BY saga_id
LIMIT $3`

const resealPurchasesSQL = `
UPDATE saga_purchase p
SET data = NULL, sealed = n.sealed
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[]) AS n(saga_id, was_data, was_sealed, sealed)
WHERE p.saga_id = n.saga_id AND p.wiped_at IS NULL
  AND p.data::text IS NOT DISTINCT FROM n.was_data AND p.sealed IS NOT DISTINCT FROM n.was_sealed`

func (st *Store) rewrapPurchases(ctx context.Context, r *Rewrapped, done func()) error {
	type purchase struct {
		SagaID uuid.UUID
		Data   *string
		Sealed []byte
	}
	for after := uuid.Nil; ; {
		rows, err := st.db.Query(ctx, oldPurchasesSQL, after, st.head(), rewrapBatch)
		if err != nil {
			return translate("rewrap", err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByName[purchase])
		if err != nil || len(found) == 0 {
			return translate("rewrap", err)
		}
		after = found[len(found)-1].SagaID
		var ids []pgtype.UUID
		var data []*string
		var was, is [][]byte
		for _, v := range found {
			value := v.Sealed
			if v.Data != nil {
				value = pack(json.RawMessage(*v.Data))
			}
			if value = st.reseal(r, PurchaseColumn, v.SagaID, value, v.Data != nil); value != nil {
				ids, data, was, is = append(ids, nullUUID(v.SagaID)), append(data, v.Data), append(was, v.Sealed), append(is, value)
			}
		}
		tag, err := st.db.Exec(ctx, resealPurchasesSQL, ids, data, was, is)
		if err != nil {
			return translate("rewrap", err)
		}
		r.Done += tag.RowsAffected()
		done()
	}
}

// Whoever has the token in memory goes on with it, and the next process fetches another.
const dropTokenSQL = `
UPDATE provider_token
SET ciphertext = NULL
WHERE ciphertext IS NOT NULL AND substring(ciphertext FROM 1 FOR 5) IS DISTINCT FROM $1::bytea`

// dropToken forgets the stored access token if it is under another key: PressOne issues another one.
func (st *Store) dropToken(ctx context.Context, r *Rewrapped, done func()) error {
	tag, err := st.db.Exec(ctx, dropTokenSQL, st.head())
	if err != nil {
		return fmt.Errorf("saga: rewrap: token: %w", err)
	}
	r.Done = tag.RowsAffected()
	done()
	return nil
}

// rewrapDigestKey seals the key that erased requests are recognised with.
func (st *Store) rewrapDigestKey(ctx context.Context, r *Rewrapped, done func()) error {
	var kept []byte
	if err := st.db.QueryRow(ctx, digestKeySQL).Scan(&kept); err != nil {
		return translate("rewrap", err)
	}
	if st.keys.Current(kept) {
		return nil
	}
	_, sealed := seal.KeyOf(kept)
	if value := st.reseal(r, DigestColumn, uuid.Nil, kept, !sealed); value != nil {
		tag, err := st.db.Exec(ctx, sealDigestKeySQL, kept, value)
		if err != nil {
			return translate("rewrap", err)
		}
		r.Done = tag.RowsAffected()
	}
	done()
	return nil
}
