package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
)

// blocks are the fenced blocks of a language in a document.
func blocks(document, language string) []string {
	var all []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(document, -1) {
		all = append(all, m[1])
	}
	return all
}

func natsDocument(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/nats.md")
	require.NoError(t, err)
	return string(b)
}

// Every configuration in docs/nats.md is read by the server's own parser, and says what the text around it says.
func TestTheServersConfigurationIsOne(t *testing.T) {
	t.Parallel()
	configs := blocks(natsDocument(t), "conf")
	require.Len(t, configs, 2)
	for i, want := range []struct {
		always   bool
		interval time.Duration
		tag      string
	}{{true, 2 * time.Minute, "az:a"}, {false, 5 * time.Second, "az:b"}} {
		file := filepath.Join(t.TempDir(), "nats.conf")
		require.NoError(t, os.WriteFile(file, []byte(configs[i]), 0o600))
		opts, err := server.ProcessConfigFile(file)
		require.NoError(t, err)
		require.True(t, opts.JetStream)
		require.Equal(t, want.always, opts.SyncAlways)
		require.Equal(t, want.interval, opts.SyncInterval)
		require.Equal(t, "az:", opts.JetStreamUniqueTag)
		require.Equal(t, []string{want.tag}, []string(opts.Tags))
		require.EqualValues(t, 50_000_000_000, opts.JetStreamMaxStore)
		require.Zero(t, opts.JetStreamMaxMemory)
		require.Equal(t, "esim", opts.Cluster.Name)
		require.Len(t, opts.Routes, 3)
		opts.StoreDir, opts.NoSigs = t.TempDir(), true
		_, err = server.NewServer(opts) // which looks at the options together
		require.NoError(t, err)
	}
}

// What the text says of a server that nobody has configured, and of a stream that is full.
func TestTheServerIsAsDocumented(t *testing.T) {
	_, js := streams(t)
	document := natsDocument(t)
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(30*time.Second))
	require.Equal(t, 2*time.Minute, s.JetStreamConfig().SyncInterval)
	require.False(t, s.JetStreamConfig().SyncAlways)
	require.Contains(t, document, "every 2 minutes")
	require.True(t, strings.HasPrefix(server.VERSION, "2.15."), "read docs/nats.md again, for %s", server.VERSION)

	for limit, want := range map[string]string{"bytes": "maximum bytes exceeded", "messages": "maximum messages exceeded"} {
		config := message.Streams(1)[0]
		if config.MaxMsgs = 1; limit == "bytes" {
			config.MaxMsgs, config.MaxBytes, config.MaxMsgSize = -1, 2000, -1
		}
		_, err := js.CreateOrUpdateStream(t.Context(), config)
		require.NoError(t, err)
		_, err = js.Publish(t.Context(), config.Subjects[0], make([]byte, 1500))
		require.NoError(t, err)
		_, err = js.Publish(t.Context(), config.Subjects[0], make([]byte, 1500))
		var refused *jetstream.APIError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, 503, refused.Code)
		require.EqualValues(t, 10077, refused.ErrorCode)
		require.Equal(t, want, refused.Description)
		require.Contains(t, document, "`"+want+"`")
		require.NoError(t, js.DeleteStream(t.Context(), config.Name))
	}
	require.Contains(t, document, "503 (10077)")
}

// Every command and every finding of verify that docs/nats.md names is one.
func TestTheCommandsOfTheDocumentExist(t *testing.T) {
	t.Parallel()
	document := natsDocument(t)
	root := newRootCommand(&cli{getenv: func(string) string { return "" }})
	commands := regexp.MustCompile(`esimctl ([a-z][a-z -]*)`).FindAllStringSubmatch(strings.Join(blocks(document, "sh"), "\n")+
		strings.Join(regexp.MustCompile("`[^`\n]*esimctl [^`\n]*`").FindAllString(document, -1), "\n"), -1)
	require.GreaterOrEqual(t, len(commands), 5)
	for _, c := range commands {
		cmd, rest, err := root.Find(strings.Fields(c[1]))
		require.NoError(t, err, c[0])
		require.Empty(t, rest, c[0])
		require.True(t, cmd.Runnable(), c[0])
	}

	var known []string
	for _, f := range streamFields(message.Streams(3)[0], true) {
		known = append(known, f.name)
	}
	for _, f := range consumerFields {
		known = append(known, f.name)
	}
	_, table, ok := strings.Cut(document, "| it says | because |")
	require.True(t, ok)
	warnings := []string{"delivery", "maximum age", "messages per subject", "roll-up", "acknowledgement", "ack wait", "pause", "replica"}
	for row := range strings.Lines(table) {
		left, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z -]+)`").FindAllStringSubmatch(left, -1) {
			require.True(t, slices.Contains(known, m[1]) || slices.Contains(warnings, m[1]), "verify says nothing of %q", m[1])
		}
	}
	for _, name := range known {
		require.True(t, strings.Contains(table, "`"+name+"`") || name == "direct access", "the document says nothing of %q", name)
	}
}
