package saga

import (
	"testing"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
)

// A newer version has written a state that this one does not know, and may hold such a
// saga in a worker of its own, which may die. Nobody here touches it.
func TestUnrecognizedStatesAreLeftAlone(t *testing.T) {
	b := setupStore(t)
	free, held := b.accept(message.Request{}, false), b.accept(message.Request{}, true)
	for _, sql := range []string{
		"ALTER TABLE saga DROP CONSTRAINT saga_state_check",
		"ALTER TABLE saga DROP CONSTRAINT saga_check1", // who may be held
		"UPDATE saga SET state = 'quarantined', due_at = now() - interval '1 hour', deadline_at = now()",
		"UPDATE worker SET expires_at = now() - interval '1 minute'",
	} {
		_, err := b.db.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	rows := func() (text string) {
		require.NoError(t, b.db.QueryRow(t.Context(), "SELECT string_agg(s::text, E'\n' ORDER BY id) FROM saga s").Scan(&text))
		return text
	}
	before := rows()
	r := b.runner(oneProvider{})
	require.NoError(t, r.tend(t.Context()))
	require.NoError(t, b.lease.Renew(t.Context()))
	require.NoError(t, r.tend(t.Context()))
	none, _, err := b.store.Claim(t.Context(), b.lease.ID(), States(), 10)
	require.NoError(t, err)
	require.Empty(t, none)
	require.Equal(t, before, rows(), "%s and %s", free.ID, held.ID)
	n, err := b.store.Unrecognized(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n)
}
