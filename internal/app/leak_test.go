package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// canaryKey is what tests seal under: base64 of 32 bytes.
var canaryKey = base64.StdEncoding.EncodeToString([]byte("canary-encryption-key-of-32-byte"))

// canaries are what may be nowhere but where it belongs, by what it is.
func (b *bench) canaries() map[string]string {
	b.t.Helper()
	all := map[string]string{
		"client secret": b.env["PRESSONE_CLIENT_SECRET"], "encryption key": canaryKey,
		"encryption key's bytes": "canary-encryption-key-of-32-byte",
	}
	if t := b.env["OPS_TOKEN"]; t != "" {
		all["OPS_TOKEN"] = t
	}
	for n := range 5 { // as the simulator makes them
		sum := sha256.Sum256(fmt.Appendf(nil, "token/%d", n+1))
		all[fmt.Sprintf("access token %d", n+1)] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	for i, o := range b.sim.Ledger().Sold {
		for j, sim := range o.Sims {
			all[fmt.Sprintf("matching id %d.%d", i, j)] = sim.MatchingID
		}
	}
	return all
}

// spellings are the ways in which a secret may be written: as it is, in hexadecimal, URL-encoded,
// and in base64, wherever in a longer text it stands.
func spellings(secret string) []string {
	all := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret))}
	for pad := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", pad) + secret))
		text = strings.TrimRight(text, "=")
		text = text[(pad*8+5)/6 : len(text)-2] // what depends on its neighbours is left out
		all = append(all, text, strings.NewReplacer("+", "-", "/", "_").Replace(text))
	}
	return all
}

// leaks lists what of the canaries is found in a text, however it is written.
func leaks(canaries map[string]string, text string) []string {
	var found []string
	lower := strings.ToLower(text)
	for _, name := range slices.Sorted(maps.Keys(canaries)) {
		for _, s := range spellings(canaries[name]) {
			if strings.Contains(text, s) || strings.Contains(lower, strings.ToLower(s)) && len(s) >= 16 {
				found = append(found, name)
				break
			}
		}
	}
	return found
}

// dump is every row of every table as text, bytes in hexadecimal, and what pg_dump writes where
// there is one that this server is not too new for.
func (b *bench) dump() string {
	b.t.Helper()
	rows, err := b.db.Query(b.t.Context(), `SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1`)
	require.NoError(b.t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	require.Greater(b.t, len(tables), 10)
	conn, err := b.db.Acquire(b.t.Context())
	require.NoError(b.t, err)
	defer conn.Release()
	var out bytes.Buffer
	for _, table := range tables {
		_, err := conn.Conn().PgConn().CopyTo(b.t.Context(), &out, "COPY "+table+" TO STDOUT")
		require.NoError(b.t, err, table)
	}
	if path, err := exec.LookPath("pg_dump"); err == nil {
		if text, err := exec.CommandContext(b.t.Context(), path, b.env["DATABASE_URL"]).Output(); err == nil {
			out.Write(text)
		}
	}
	return out.String()
}

// A secret is found however it is written, in the midst of other text too: the search that the tests below
// depend on.
func TestLeaksAreFoundHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	secret := "CANARY/5b+1$code 17"
	for _, text := range []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
		base64.StdEncoding.EncodeToString([]byte("a" + secret + "more")), base64.URLEncoding.EncodeToString([]byte("ab" + secret)),
		base64.RawStdEncoding.EncodeToString([]byte("abc" + secret)),
	} {
		require.Equal(t, []string{"it"}, leaks(map[string]string{"it": secret}, "before "+text+" after"), text)
	}
	require.Empty(t, leaks(map[string]string{"it": secret}, "nothing of it"))
}

// A busy day, with refusals, lost answers and bytes that mean harm; then everything that is written or shown
// anywhere is searched for secrets: the log, the metrics, every answer of the API, every page of the console,
// the dead letters on their stream, and the whole database. The results alone have the activation codes, because
// that is their purpose.
func TestSecretsLeakNowhere(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	maps.Copy(b.env, patient)
	b.env["ENCRYPTION_KEY"] = canaryKey
	s := b.scene()
	ann := s.logIn()
	canaries := b.canaries()
	require.Greater(t, len(canaries), 15)

	shown := map[string]string{"log": b.log.String(), "database": b.dump(), "metrics": b.fetch("http://" + s.w.TelemetryAddr() + "/metrics")}
	for name, path := range s.screens() {
		p := s.ask(path, nil, ann)
		require.Equal(t, http.StatusOK, p.StatusCode, name)
		shown["page: "+name] = p.text
	}
	letter := s.id("SELECT id::text FROM dead_letter WHERE request_id = 'poor-1'")
	for _, path := range []string{
		"sagas?limit=100", "sagas/" + s.sagaID("five"), "sagas/" + s.sagaID("lost"), "dead-letters?limit=100", "dead-letters/" + letter, "dead-letter-groups",
		"replays", "audits", "audit-findings", "gate", "gate/trail", "nowhere", "sagas/nobody",
	} {
		p := s.ask("/api/v1/"+path, nil, nil, "Authorization", "Bearer "+opsToken)
		require.NotEqual(t, http.StatusUnauthorized, p.StatusCode, path)
		shown["API: "+path] = p.text
	}
	for i, m := range b.messages(message.DeadLettersStream) {
		shown[fmt.Sprintf("dead letter %d", i)] = fmt.Sprint(m.Header) + string(m.Data)
	}
	for name, text := range shown {
		require.NotEmpty(t, text, name)
		require.Empty(t, leaks(canaries, text), name)
	}

	result := fmt.Sprint(b.result("five", 1).Data)
	for _, o := range b.sim.Ledger().Sold {
		for _, sim := range o.Sims {
			if len(o.Sims) == 5 {
				require.Contains(t, result, sim.MatchingID, "that is what results are for")
			}
		}
	}
}

// What waits to be published, what was bought and what PressOne has answered rests encrypted, each in its place; without
// a key the same search finds the codes in all of these, so it does search there.
func TestSecretsRestEncrypted(t *testing.T) {
	for _, tt := range []struct{ name, key string }{{"sealed", canaryKey}, {"plain", ""}} {
		t.Run(tt.name, func(t *testing.T) {
			b := setup(t, pressonesim.Config{})
			maps.Copy(b.env, patient) // of what is looked up there is no answer
			b.env["ENCRYPTION_KEY"] = tt.key
			// PressOne shows the second eSIM late, so that the purchase is on record beside the answer.
			b.sim.Inject(pressonesim.Fault{Endpoint: pressonesim.OneSim, Action: pressonesim.Status, Status: 503, Times: 3})
			b.worker()
			b.publish(message.Order, `{"request_id":"waits","package_id":"kallur-digital-7days-1gb","quantity":3}`)
			require.Eventually(t, func() bool {
				return b.count("SELECT count(*) FROM saga WHERE state = 'notifying'") == 1
			}, 60*time.Second, 20*time.Millisecond)
			require.Equal(t, 1, b.count("SELECT count(*) FROM saga_answer"))
			require.Equal(t, 1, b.count("SELECT count(*) FROM outbox"))

			if tt.key == "" {
				require.NotEmpty(t, leaks(b.canaries(), b.dump()))
				require.Contains(t, b.log.String(), "ENCRYPTION_KEY is not set")
			} else {
				require.Empty(t, leaks(b.canaries(), b.dump()))
				require.Zero(t, b.count(`SELECT count(*) FROM saga_answer WHERE get_byte(body, 0) <> 2`))
				require.Zero(t, b.count(`SELECT count(*) FROM outbox WHERE get_byte(body, 0) <> 2 OR next_at IS NOT NULL OR sealed_next_at IS NULL`))
				require.Zero(t, b.count(`SELECT count(*) FROM saga_purchase WHERE data IS NOT NULL OR get_byte(sealed, 0) <> 2`))
				require.Zero(t, b.count(`SELECT count(*) FROM provider_token WHERE get_byte(ciphertext, 0) <> 2`))
			}

			// And it all opens again: the result has every code.
			b.publisher()
			e := b.result("waits", 1)
			require.Contains(t, e.Type, "completed")
			text := fmt.Sprint(e.Data)
			for _, sim := range b.sim.Ledger().Sold[0].Sims {
				require.Contains(t, text, sim.MatchingID)
			}
		})
	}
}

// A publisher of a key that is not the workers' publishes nothing of theirs, and says so; one that has it
// publishes what has waited, once.
func TestPublisherWithoutTheKeyLeavesResultsAlone(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	b.env["ENCRYPTION_KEY"] = canaryKey
	b.worker()
	b.env["ENCRYPTION_KEY"] = base64.StdEncoding.EncodeToString(make([]byte, 32))
	stranger := b.process(app.PublisherProgram)
	b.publish(message.Order, `{"request_id":"sealed","package_id":"kallur-digital-7days-1gb"}`)
	require.Eventually(t, func() bool {
		return b.count("SELECT coalesce(max(failures), 0) FROM outbox WHERE next_at IS NULL AND sealed_next_at > created_at") >= 2
	}, 60*time.Second, 20*time.Millisecond)
	require.Contains(t, b.log.String(), "its key is not in ENCRYPTION_KEY")
	require.Empty(t, b.messages(message.EventsStream))

	b.stop(stranger)
	b.env["ENCRYPTION_KEY"] += "," + canaryKey
	b.publisher()
	require.Contains(t, b.result("sealed", 1).Type, "completed")
}
