package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"esimflow/internal/devstack"
	"esimflow/internal/outbox"
	"esimflow/internal/saga"
	"esimflow/internal/seal"
)

// A key is rotated: what rests as it is, from before there was one, and what is under the old key is encrypted
// under the new one, in several commits; what is wiped stays as it is. Without the old key what needs it is
// left alone, and said so. Again there is nothing to do, and at the end the new key alone opens everything. All of
// it as the role that the programs have.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	s := &stack{t: t, env: map[string]string{"DATABASE_URL": devstack.PostgresWithRoles(t, filepath.Join("..", "..", "deploy", "postgres", "roles.sql"),
		devstack.PostgresConfig{}).RoleURL("esimflow_app", "127.0.0.1", url.Values{"sslmode": {"disable"}})}}
	conn, err := pgx.Connect(t.Context(), s.env["DATABASE_URL"])
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	key := func(fill byte) []byte { return bytes.Repeat([]byte{fill}, 32) }
	text := func(fill byte) string { return base64.StdEncoding.EncodeToString(key(fill)) }
	old, err := seal.New([][]byte{key('a')})
	require.NoError(t, err)

	plain, sealed, wiped := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	for i, id := range []uuid.UUID{plain, sealed, wiped} {
		exec(`INSERT INTO saga (id, kind, request_id, state, deadline_at, reference, fingerprint, package_id, quantity, order_id, requested_at)
		      VALUES ($1, 'order', $2, 'completed', now(), $2, '', 'p', 1, $3, now())`, id, id.String(), 1000+i)
		exec(`INSERT INTO saga_request (saga_id, subject, sequence, headers, body, metadata) VALUES ($1, '', 1, '{}', '', '{}')`, id)
	}
	const purchase = `{"order":{"id":%d,"price":9.5,"currency":"USD","sims":[{"iccid":"8934071000000000006","qrcode":"LPA:1$h$CANARY"}]}}`
	exec(`INSERT INTO saga_purchase (saga_id, data) VALUES ($1, $2)`, plain, fmt.Sprintf(purchase, 1000))
	exec(`INSERT INTO saga_purchase (saga_id, sealed) VALUES ($1, $2)`, sealed, old.Seal(fmt.Appendf(nil, purchase, 1001), seal.Place(saga.PurchaseColumn, sealed)))
	exec(`INSERT INTO saga_purchase (saga_id, data, wiped_at) VALUES ($1, '{"order":{"id":1002}}', now())`, wiped)
	const answers = 1203 // more than two commits
	for i := range answers {
		body := []byte(`{"data":{"qrcode":"LPA:1$h$CANARY"}}`)
		if i%2 == 0 {
			body = old.Seal(body, seal.Place(saga.AnswerColumn, sealed))
		}
		exec(`INSERT INTO saga_answer (saga_id, attempt, status, body) VALUES ($1, 1, 200, $2)`, sealed, body)
	}
	exec(`INSERT INTO outbox (op, subject, message_id, body, saga_id, next_at, sealed_next_at) VALUES ('publish', 's', 'm', $1, $2, NULL, now())`,
		old.Seal([]byte("{}"), seal.Place(outbox.BodyColumn, sealed)), sealed)
	exec(`UPDATE provider_token SET ciphertext = $1`, old.Seal([]byte("token"), []byte("p")))

	require.Contains(t, s.exits(exitUsage, "keys", "rewrap").err, "ENCRYPTION_KEY is not set")
	status := func() map[string]int64 {
		all := map[string]int64{}
		for _, r := range okJSON[[]keyRow](s, "keys", "status") {
			all[r.Column+" "+r.Is] = r.Count
		}
		return all
	}
	s.env["ENCRYPTION_KEY"] = text('b') + "," + text('a')
	require.Equal(t, map[string]int64{
		"saga_answer|body not encrypted": 601, "saga_answer|body other": 602,
		"saga_purchase|sealed not encrypted": 1, "saga_purchase|sealed other": 1, "outbox|body other": 1, "provider_token|ciphertext other": 1,
		"digest_key|key not encrypted": 1,
	}, status())

	s.env["ENCRYPTION_KEY"] = text('b') // the old one was taken away too early
	r := s.exits(exitPartly, "keys", "rewrap", "--json")
	require.Contains(t, r.err, "could not be opened")
	for _, c := range fromJSON[[]saga.Rewrapped](t, r.out) {
		require.Zero(t, c.Broken, c.Column)
	}
	require.Equal(t, map[string]int64{
		"saga_answer|body first": 601, "saga_answer|body not in ENCRYPTION_KEY": 602,
		"saga_purchase|sealed first": 1, "saga_purchase|sealed not in ENCRYPTION_KEY": 1, "outbox|body not in ENCRYPTION_KEY": 1,
		"digest_key|key first": 1,
	}, status())

	s.env["ENCRYPTION_KEY"] = text('b') + "," + text('a')
	want := []saga.Rewrapped{{Column: "saga_answer|body", Done: 602}, {Column: "saga_purchase|sealed", Done: 1}, {Column: "outbox|body", Done: 1}, {Column: "provider_token|ciphertext"}, {Column: "digest_key|key"}}
	require.Equal(t, want, okJSON[[]saga.Rewrapped](s, "keys", "rewrap"))
	for i := range want {
		want[i].Done = 0
	}
	require.Equal(t, want, okJSON[[]saga.Rewrapped](s, "keys", "rewrap"), "nothing is left to do")

	s.env["ENCRYPTION_KEY"] = text('b')
	require.Equal(t, map[string]int64{"saga_answer|body first": answers, "saga_purchase|sealed first": 2, "outbox|body first": 1, "digest_key|key first": 1}, status())
	require.Contains(t, s.ok("keys", "status"), "first")
	fresh, err := seal.New([][]byte{key('b')})
	require.NoError(t, err)
	var body []byte
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT body FROM outbox`).Scan(&body))
	opened, err := fresh.Open(body, seal.Place(outbox.BodyColumn, sealed))
	require.NoError(t, err)
	require.Equal(t, "{}", string(opened))
	store, _, closeDB, err := (&cli{getenv: lookupIn(s.env)}).keyStore(t.Context())
	require.NoError(t, err)
	defer closeDB()
	for _, id := range []uuid.UUID{plain, sealed} {
		got, err := store.Get(t.Context(), id)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(got.Purchase.Order.Sims[0].QRCode.Reveal(), "CANARY"))
	}
}
