package saga

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestIDsBeginWithTheTime(t *testing.T) {
	t.Parallel()
	before := time.Now().Truncate(time.Millisecond)
	id := uuid.Must(uuid.NewV7())
	require.WithinRange(t, AcceptedAt(id), before, time.Now())
	least := FirstID(AcceptedAt(id))
	require.Negative(t, bytes.Compare(least[:], id[:]))
	next := FirstID(AcceptedAt(id).Add(time.Millisecond))
	require.Positive(t, bytes.Compare(next[:], id[:]))
}
