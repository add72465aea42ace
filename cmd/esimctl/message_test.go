package main

import (
	"net"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Whoever types something wrong is told in the words of the command line what it was, and no word is of the libraries that
// found out.
func TestMessagesAreOfTheCommandLine(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = busy.Close() })
	env := map[string]string{"DATABASE_URL": "postgres://nobody:hush-hush@127.0.0.1:1/none", "NATS_URL": "nats://127.0.0.1:1", "USER": "maria"}
	for line, want := range map[string]struct {
		code int
		said string
	}{
		"saga list --limit many":             {exitUsage, `--limit "many" is not a whole number`},
		"dlq list --older yesterday":         {exitUsage, `--older "yesterday" is not a time like 1h30m`},
		"dlq replay --code 11 --rate fast":   {exitUsage, `--rate "fast" is not a number`},
		"sim --seed -1":                      {exitUsage, `--seed "-1" is not a whole number`},
		"saga list --json=maybe":             {exitUsage, `--json "maybe" is not true or false`},
		"order submit":                       {exitUsage, "--package is missing"},
		"topup submit --package x":           {exitUsage, "--iccid is missing"},
		"bench --workers 9":                  {exitUsage, "--workers 9 is not 1 to 4"},
		"sim --addr nowhere":                 {exitUsage, `--addr "nowhere"`},
		"sim --addr " + busy.Addr().String(): {exitFailed, "give another --addr"},
		"migrate status":                     {exitFailed, "no Postgres lets esimctl in at 127.0.0.1:1"},
		"migrate up":                         {exitFailed, "Set DATABASE_URL"},
		"keys status":                        {exitFailed, "Set DATABASE_URL"},
		"restore begin --copied-at 2026-11-22T14:30:00Z --reason x": {exitFailed, "Set DATABASE_URL"},
		"": {exitUsage, "See 'esimctl --help'."},
	} {
		r := runIn(t, env, strings.Fields(line)...)
		require.Equal(t, want.code, r.code, "esimctl %s: %s", line, r.err)
		require.Contains(t, r.err, want.said, line)
		require.NotContains(t, r.err, "hush-hush", line)
		require.NotRegexp(t, `strconv|ParseInt|goose|failed to|esimctl: [a-z]+: `, r.err, line)
		for said := range strings.Lines(r.err) {
			require.LessOrEqual(t, utf8.RuneCountInString(said), tableWidth+1, line)
		}
	}
}

// What is not there is said to be missing by the name that the operator knows it by.
func testMissing(t *testing.T, s *stack) {
	t.Helper()
	id := uuid.NewString()
	for line, want := range map[string]string{
		"dlq show " + id:                      "there is no dead letter " + id,
		"dlq discard " + id + " --reason x":   "there is no dead letter " + id,
		"replay show " + id:                   "there is no replay " + id,
		"replay abort " + id + " --reason x":  "there is no replay " + id,
		"audit show " + id:                    "there is no audit " + id,
		"audit dismiss " + id + " --reason x": "there is no finding " + id,
	} {
		require.Contains(t, s.exits(exitNotFound, strings.Fields(line)...).err, "esimctl: "+want+"\n", line)
	}
}
