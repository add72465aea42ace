package seal_test

import (
	"bytes"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"esimflow/internal/seal"
)

func keys(t require.TestingT, fills ...byte) *seal.Keys {
	var raw [][]byte
	for _, fill := range fills {
		raw = append(raw, bytes.Repeat([]byte{fill}, 32))
	}
	k, err := seal.New(raw)
	require.NoError(t, err)
	return k
}

// Whatever is sealed opens in its place, and nowhere else, and not at all once a byte of it is another.
func TestWhatIsSealedOpensInItsPlaceOnlyLaw(t *testing.T) {
	t.Parallel()
	k := keys(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		place := seal.Place("saga_answer|body", uuid.New())
		sealed := k.Seal(plain, place)
		require.Len(t, sealed, len(plain)+seal.Overhead)
		got, err := k.Open(sealed, place)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, got))
		_, err = k.Open(sealed, seal.Place("saga_answer|body", uuid.New()))
		require.ErrorIs(t, err, seal.ErrBroken, "another saga's")
		at := rapid.IntRange(seal.HeadSize, len(sealed)-1).Draw(t, "at")
		sealed[at] ^= 1
		_, err = k.Open(sealed, place)
		require.ErrorIs(t, err, seal.ErrBroken)
	})
}

// A new key in front of the old one seals, and both open; without the old one, what it sealed says which key is missing.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	old, both, fresh := keys(t, 1), keys(t, 2, 1), keys(t, 2)
	place := seal.Place("outbox|body", uuid.New())
	sealed := old.Seal([]byte("LPA:1$host$code"), place)
	for _, k := range []*seal.Keys{old, both} {
		plain, err := k.Open(sealed, place)
		require.NoError(t, err)
		require.Equal(t, "LPA:1$host$code", string(plain))
	}
	require.False(t, both.Current(sealed))
	require.True(t, old.Current(sealed))
	_, err := fresh.Open(sealed, place)
	require.ErrorIs(t, err, seal.ErrKeyMissing)
	id, ok := seal.KeyOf(sealed)
	require.True(t, ok)
	require.Equal(t, old.IDs()[0], id)
	_, err = fresh.Open(both.Seal(nil, place), place)
	require.NoError(t, err, "the first one seals")
}

// Without keys there is nothing to seal with, and nothing opens; keys of another length are refused by their place in the list.
func TestNoKeys(t *testing.T) {
	t.Parallel()
	none := keys(t)
	require.False(t, none.On())
	require.Empty(t, none.IDs())
	place := seal.Place("outbox|body", uuid.New())
	_, err := none.Open(keys(t, 1).Seal(nil, place), place)
	require.ErrorIs(t, err, seal.ErrKeyMissing)
	_, err = none.Open([]byte("{}"), place)
	require.ErrorIs(t, err, seal.ErrBroken)
	_, err = seal.New([][]byte{make([]byte, 32), make([]byte, 16)})
	require.ErrorContains(t, err, "key 2 has 16 bytes")
}

func BenchmarkSeal(b *testing.B) {
	k, plain, id := keys(b, 1), make([]byte, 800), uuid.New()
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(plain, seal.Place("outbox|body", id))
	}
}
