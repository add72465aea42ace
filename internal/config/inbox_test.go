package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Answers arrive where only this user of NATS may read: under what is set, or under the user's
// name, or under the program's.
func TestInboxPrefix(t *testing.T) {
	for name, c := range map[string]struct {
		need      Need
		url, set  string
		want, err string
	}{
		"set":                     {need: Worker, url: "nats://w:p@nats:4222", set: "_INBOX_mine", want: "_INBOX_mine"},
		"the user's":              {need: Worker, url: "nats://w-1:p@nats:4222,nats://w-2:p@other:4222", want: "_INBOX_w-1"},
		"a token is no user":      {need: Publisher, url: "nats://secret@nats:4222", want: "_INBOX_publisher"},
		"a user that is no token": {need: Worker, url: "nats://a.b:p@nats:4222", want: "_INBOX_worker"},
		"the program's":           {need: Worker, url: "nats:4222", want: "_INBOX_worker"},
		"the library's":           {need: Streams, url: "nats://nats:4222", want: ""},
		"a wildcard":              {need: Worker, url: "nats://nats:4222", set: "_INBOX.>", err: "NATS_INBOX_PREFIX"},
		"an end":                  {need: Worker, url: "nats://nats:4222", set: "_INBOX.", err: "NATS_INBOX_PREFIX"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{
				"DATABASE_URL": "postgres://db/esimflow", "NATS_URL": c.url, "NATS_INBOX_PREFIX": c.set,
				"PRESSONE_BASE_URL": "https://api.example.com/v2", "PRESSONE_CLIENT_ID": "id", "PRESSONE_CLIENT_SECRET": "s",
			}
			cfg, err := Load(func(name string) string { return env[name] }, c.need)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, cfg.NATSInboxPrefix)
		})
	}
}
