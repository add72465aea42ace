package saga

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/seal"
)

// completed makes a saga that has bought an eSIM and is completed.
func (b *storeBench) completed() Saga {
	b.t.Helper()
	s := b.accept(message.Request{}, true)
	p := &Purchase{Order: pressone.Order{ID: int64(b.n), Price: "9.5", Sims: []pressone.Sim{{ICCID: "8934000000000008728"}}}}
	s = b.apply(s, Event{Name: Submitted, Purchase: p})
	s = b.apply(s, Event{Name: Ready, Purchase: p})
	_, err := b.db.Exec(b.t.Context(), "DELETE FROM outbox")
	require.NoError(b.t, err)
	var q pgx.Batch
	b.store.Announce(&q, []uuid.UUID{s.ID})
	require.NoError(b.t, b.db.SendBatch(b.t.Context(), &q).Close())
	return s
}

// sealed gives the store a key.
func (b *storeBench) sealed(fill byte) {
	b.t.Helper()
	keys, err := seal.New([][]byte{bytes.Repeat([]byte{fill}, 32)})
	require.NoError(b.t, err)
	b.store.Sealed(keys)
	b.store.digestKey = nil
}

// stale is a transaction whose first look shows what was there before.
type stale struct {
	pgx.Tx

	before pgx.Tx
}

func (s stale) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return s.before.Query(ctx, strings.TrimSuffix(sql, "FOR UPDATE OF s SKIP LOCKED"), args...)
}

// A saga is erased between the moment that its codes' removal looks at it and the moment that it has it locked:
// the row that it then holds is the new one, but what belongs to it is what it was before. Nothing of
// that is written back.
func TestWipingBringsNothingBackThatWasErased(t *testing.T) {
	b := setupStore(t)
	require.NoError(t, b.store.LoadDigestKey(t.Context()))
	s := b.completed()
	before, err := b.db.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	t.Cleanup(func() { _ = before.Rollback(context.WithoutCancel(t.Context())) })
	_, err = before.Exec(t.Context(), "SELECT")
	require.NoError(t, err)
	require.NoError(t, b.store.Erase(t.Context(), s.ID, "ann", "the customer has left"))

	err = pgx.BeginFunc(t.Context(), b.db, func(tx pgx.Tx) error {
		done, err := b.store.Wipe(t.Context(), stale{tx, before}, []uuid.UUID{s.ID}, time.Now().Add(time.Hour))
		require.EqualValues(t, 1, done.Sagas, "it was not erased when it was looked at")
		return err
	})
	require.NoError(t, err)
	var data string
	require.NoError(t, b.db.QueryRow(t.Context(), "SELECT data::text FROM saga_purchase WHERE saga_id = $1", s.ID).Scan(&data))
	require.Contains(t, data, "9.5")
	require.NotContains(t, data, "8934000000000008728")
}

// What rests under a key that is gone is on record all the same: whoever asks for it is told so, and not that there is nothing.
func TestWhatRestsUnderAKeyThatIsGoneIsNotDenied(t *testing.T) {
	b := setupStore(t)
	b.sealed(1)
	s := b.completed()
	b.sealed(2)
	_, err := b.store.Reveal(t.Context(), s.ID, "ann", "asked for it")
	require.ErrorContains(t, err, "the key is not in ENCRYPTION_KEY")
	data, err := b.store.Export(t.Context(), s.ID, "ann", "asked for it")
	require.NoError(t, err)
	require.Equal(t, "kept", data.Codes)
	b.store.digestKey = []byte("known")
	require.ErrorContains(t, b.store.Erase(t.Context(), s.ID, "ann", "the customer has left"), "the key is not in ENCRYPTION_KEY")
	b.sealed(1)
	require.NoError(t, b.store.LoadDigestKey(t.Context()))
	require.NoError(t, b.store.Erase(t.Context(), s.ID, "ann", "the customer has left"))
}

// The key under which the digests' key rests is gone: as soon as anything was erased no request is accepted, since it may be that
// one. What docs/data.md says then helps.
func TestRequestsWaitForTheKeyThatErasedOnesAreKnownBy(t *testing.T) {
	b := setupStore(t)
	b.sealed(1)
	require.NoError(t, b.store.LoadDigestKey(t.Context()))
	b.sealed(2)
	require.ErrorIs(t, b.store.LoadDigestKey(t.Context()), seal.ErrKeyMissing)
	erased := b.completed() // nothing is erased yet
	b.sealed(1)
	require.NoError(t, b.store.LoadDigestKey(t.Context()))
	b.sealed(2)
	_, err := b.db.Exec(t.Context(), "INSERT INTO saga_erased (kind, digest, meaning, saga_id) VALUES ('order', 'd', 'm', $1)", erased.ID)
	require.NoError(t, err)
	s := New(message.Request{Kind: message.Order, PackageID: "p", RequestID: "new", Quantity: 1}, Source{Body: []byte("{}"), Metadata: []byte("{}")}, time.Now())
	accepting := []Decision{b.decide(s, Event{Name: Accepted})}
	_, err = b.store.Accept(t.Context(), accepting)
	require.ErrorIs(t, err, errNoDigest)

	text, err := os.ReadFile("../../docs/data.md")
	require.NoError(t, err)
	_, remedy, _ := strings.Cut(string(text), "```sql\n")
	remedy, _, found := strings.Cut(remedy, "```")
	require.True(t, found)
	_, err = b.db.Exec(t.Context(), remedy)
	require.NoError(t, err)
	require.NoError(t, b.store.LoadDigestKey(t.Context()))
	known, err := b.store.Accept(t.Context(), accepting)
	require.NoError(t, err)
	require.Equal(t, s.ID, known[0].ID)
}
