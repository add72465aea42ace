package saga

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever PressOne answers is there again as it came, also when it looks like what we make
// of answers; and what was kept as it came is read.
func TestAnswersArePackedLaw(t *testing.T) {
	t.Parallel()
	require.Equal(t, []byte("short"), pack([]byte("short")))
	rapid.Check(t, func(t *rapid.T) {
		answer := rapid.OneOf(
			rapid.SliceOf(rapid.Byte()),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) []byte { return append([]byte{packedV1}, b...) }),
			rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{`"iccid":"`, `"sims":[`, "x", answerDictionary}), 0, 50), func(parts []string) []byte {
				var b bytes.Buffer
				for _, p := range parts {
					b.WriteString(p)
				}
				return b.Bytes()
			}),
		).Draw(t, "answer")
		got, err := unpack(pack(answer))
		if err != nil || !bytes.Equal(got, answer) {
			t.Fatal(err, len(got), len(answer))
		}
	})
}

// An answer that the first version packed can be read for ever: here is one. And a broken
// one is an error, not something else.
func TestPackedAnswersStayReadable(t *testing.T) {
	kept, err := os.ReadFile("testdata/answer.v1")
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/answer.json")
	require.NoError(t, err)
	got, err := unpack(kept)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
	require.Less(t, len(kept)*3, len(want), "and it is worth its while")
	_, err = unpack(kept[:len(kept)-1])
	require.Error(t, err)
}
