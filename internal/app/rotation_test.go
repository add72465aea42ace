package app_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"esimflow/internal/pressonesim"
)

// An encryption key is replaced by rolling restarts, in the order of docs/operations.md: every
// worker can read the new key before any writes under it. The shared token is bought once, by
// the first worker of all; /token allows a few requests a minute, and six pods that each bought
// their own would exhaust it.
func TestEncryptionKeyIsRotated(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient) // a token that comes late is asked for again
	const older, newer = "b2xkZXItb2xkZXItb2xkZXItb2xkZXItb2xkZXItMDE=", "bmV3ZXItbmV3ZXItbmV3ZXItbmV3ZXItbmV3ZXItMDE="
	var stops []func()
	roll := func(keys string) { // the next worker starts before the last one stops
		b.env["ENCRYPTION_KEY"] = keys
		_, stop := b.brief()
		stops = append(stops, stop)
		if n := len(stops); n > 1 {
			b.completed(b.orders(keys[:4]+keys[len(keys)-12:], 3)...)
			stops[n-2]()
		}
		b.completed(b.orders(keys[:3]+keys[len(keys)-12:], 3)...)
	}
	roll(older)
	roll(older + "," + newer)
	roll(newer + "," + older)
	require.Equal(t, 1, b.sim.Requests(pressonesim.Token), "all read the token of the first")

	sealed := b.text("SELECT encode(ciphertext, 'hex') FROM provider_token")
	b.sim.ExpireTokens() // the next one is sealed under the first key of the list
	b.completed(b.orders("expired", 3)...)
	require.NotEqual(t, sealed, b.text("SELECT encode(ciphertext, 'hex') FROM provider_token"))
	require.Equal(t, 2, b.sim.Requests(pressonesim.Token))
	roll(newer)
	require.Equal(t, 2, b.sim.Requests(pressonesim.Token), "the older key is of no use any more")
}

// The client secret is replaced: PressOne takes the new one from some moment on, and refuses the
// one before. The workers hold a token meanwhile, which is shared and sealed under a key of its
// own; they are replaced one by one while requests go on, and none is lost, refused or bought
// twice. Whoever starts with a secret that PressOne refuses buys nothing, and closes no lane as
// long as the token is good.
func TestClientSecretIsRotated(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient) // a token that comes late is asked for again
	b.env["ENCRYPTION_KEY"] = "b2xkZXItb2xkZXItb2xkZXItb2xkZXItb2xkZXItMDE="
	_, stop := b.brief()
	b.completed(b.orders("before", 3)...)

	const next = "canary-client-secret-4712"
	b.sim.SetClientSecret(next)
	b.completed(b.orders("between", 3)...) // the secret is refused, the token is not
	b.env["PRESSONE_CLIENT_SECRET"] = next
	_, stopNext := b.brief()
	b.completed(b.orders("both", 3)...)
	stop()
	require.Equal(t, 1, b.sim.Requests(pressonesim.Token))
	b.sim.ExpireTokens()
	b.completed(b.orders("after", 3)...)
	require.Equal(t, 2, b.sim.Requests(pressonesim.Token))
	stopNext()
	require.Equal(t, 12, b.sim.SoldCount())
	require.Zero(t, b.count("SELECT count(*) FROM dead_letter"))
	require.Zero(t, b.count("SELECT count(*) FROM provider_gate WHERE closed_until > now()"))
}
