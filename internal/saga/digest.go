package saga

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"esimflow/internal/message"
	"esimflow/internal/seal"
)

// DigestColumn is where the key rests that erased requests are recognised with.
const DigestColumn = "digest_key|key"

const digestKeySQL = `
SELECT key
FROM digest_key`

const sealDigestKeySQL = `
UPDATE digest_key
SET key = $2
WHERE key = $1`

// LoadDigestKey reads the key that erased requests are recognised with, and seals it if it is not yet. It is
// for before requests are accepted. Without it none is accepted as soon as any has been erased: whether it was that
// one could not be told.
func (st *Store) LoadDigestKey(ctx context.Context) error {
	for {
		var kept []byte
		if err := st.db.QueryRow(ctx, digestKeySQL).Scan(&kept); err != nil {
			return translate("digest key", err)
		}
		place := seal.Place(DigestColumn, uuid.Nil)
		if _, sealed := seal.KeyOf(kept); sealed {
			key, err := st.keys.Open(kept, place)
			if err != nil {
				return fmt.Errorf("saga: digest key: %w", err)
			}
			st.digestKey = key
			return nil
		}
		if !st.keys.On() {
			st.digestKey = kept
			return nil
		}
		if _, err := st.db.Exec(ctx, sealDigestKeySQL, kept, st.keys.Seal(kept, place)); err != nil {
			return translate("digest key", err)
		}
	}
}

// errNoDigest says that requests cannot be told from erased ones.
var errNoDigest = errors.New("saga: the digests' key could not be opened: is ENCRYPTION_KEY complete?")

// digest is what is left of a request's key when it is erased; nil if that is not known.
func (st *Store) digest(k message.Kind, requestID string) []byte {
	return st.keyed("key", string(k), requestID)
}

// meaning is what is left of a request's fingerprint.
func (st *Store) meaning(k message.Kind, requestID, fingerprint string) []byte {
	return st.keyed("meaning", string(k), requestID, fingerprint)
}

func (st *Store) keyed(parts ...string) []byte {
	if st.digestKey == nil {
		return nil
	}
	h := hmac.New(sha256.New, st.digestKey)
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return h.Sum(nil)
}

const erasedSQL = `
SELECT k.n, e.saga_id, e.meaning
FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS k(kind, digest, n)
JOIN saga_erased e ON e.kind = k.kind AND e.digest = k.digest`

// Erased fills in what is on record for requests that were erased, where nothing else is.
func (st *Store) Erased(ctx context.Context, sagas []Saga, known []Known) error {
	kinds := column(sagas, func(s Saga) string { return string(s.Kind) })
	rows, err := st.db.Query(ctx, erasedSQL, kinds, column(sagas, func(s Saga) []byte { return st.digest(s.Kind, s.RequestID) }))
	if err != nil {
		return translate("erased", err)
	}
	var n int
	var id uuid.UUID
	var meaning []byte
	_, err = pgx.ForEachRow(rows, []any{&n, &id, &meaning}, func() error {
		s := sagas[n-1]
		if known[n-1].ID != uuid.Nil {
			return nil
		}
		known[n-1] = Known{ID: id, Fingerprint: "erased", Erased: true}
		if hmac.Equal(meaning, st.meaning(s.Kind, s.RequestID, s.Fingerprint)) {
			known[n-1].Fingerprint = s.Fingerprint
		}
		return nil
	})
	return translate("erased", err)
}
