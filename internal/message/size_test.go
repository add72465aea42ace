package message_test

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"esimflow/internal/message"
)

// TestSizeIsWhatNATSCounts takes the client's own arithmetic for a second opinion.
func TestSizeIsWhatNATSCounts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := message.Message{
			ID:   rapid.StringMatching(`[a-z0-9.]{0,40}`).Draw(t, "id"),
			Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
			Header: rapid.MapOf(rapid.StringMatching(`[A-Z][a-z-]{1,8}`),
				rapid.SliceOfN(rapid.StringMatching(`[ a-zé]{0,8}`), 1, 3)).Draw(t, "header"),
		}
		msg := &nats.Msg{Header: nats.Header{}, Data: m.Body}
		maps.Copy(msg.Header, m.Header)
		if m.ID != "" {
			msg.Header[nats.MsgIdHdr] = []string{m.ID}
		}
		require.Equal(t, msg.Size(), m.Size())
	})
}

// TestTheLargestRequestFitsOnTheDLQ publishes requests of exactly the size that
// ESIM_REQUESTS takes, made up in several ways, and buries each of them with headers of
// ours that are as long as they get. max_payload counts headers, too.
func TestTheLargestRequestFitsOnTheDLQ(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, int64(1<<20), b.nc.MaxPayload())
	header := func(n int) nats.Header { return nats.Header{"X-Large": {strings.Repeat("h", n)}} }
	many := nats.Header{}
	for i := range 1_000 {
		many[fmt.Sprintf("X-%d", i)] = []string{strings.Repeat("v", i%80)}
	}
	shapes := map[string]message.Message{
		"all body":          {},
		"body and a header": {Header: header(1 << 10)},
		"a large header":    {Header: header(50_000)},
		"many headers":      {Header: many},
		"with a message id": {ID: strings.Repeat("i", 1<<10), Header: header(1 << 10)},
	}
	for name, m := range shapes {
		t.Run(name, func(t *testing.T) {
			m.Subject = message.RequestSubject(message.Order)
			m.Body = []byte(strings.Repeat("b", message.MaxRequestSize-m.Size()))
			require.Equal(t, message.MaxRequestSize, m.Size())
			over := m
			over.Body = append([]byte("b"), m.Body...)
			_, err := b.publish(over)
			require.ErrorContains(t, err, "message size exceeds maximum allowed")
			_, err = b.publish(m)
			require.NoError(t, err)

			request := b.next(message.Order)
			d := largest()
			d.Header, d.Body = request.Headers(), request.Data()
			dead := d.Message()
			require.LessOrEqual(t, dead.Size(), 1<<20)
			dead.ID = name
			got := b.stored(dead)
			require.Len(t, got.Data, len(m.Body))
			for header, values := range m.Header {
				require.Equal(t, values, got.Header[header])
			}
			require.Len(t, got.Header["Esim-Reason"][0], 1<<10)
			require.Len(t, got.Header["Esim-Request-Id"][0], 1<<10)
		})
	}
}

// TestHeadersThatAreTooMuchAreLeftOut has headers that cannot be copied together with ours:
// JetStream takes 64 KiB of them, and our client writes them longer than others do ("a: "
// for "a:"). The largest ones go, and the copy can be published.
func TestHeadersThatAreTooMuchAreLeftOut(t *testing.T) {
	t.Parallel()
	const most = 1<<16 - 1
	b := setup(t)
	const start, end = "NATS/1.0\r\nbad name:x\r\n~small:kept\r\n", "\r\n"
	tests := map[string]string{
		"a large one":          "z:" + strings.Repeat("z", most-len(start)-len(end)-len("z:\r\n")) + "\r\n",
		"many that grow":       strings.Repeat("z:\r\n", (most-len(start)-len(end))/len("z:\r\n")),
		"many that are folded": strings.Repeat("z:z\r\nZ:\r\n", (most-len(start)-len(end))/len("z:z\r\nZ:\r\n")),
	}
	for name, large := range tests {
		t.Run(name, func(t *testing.T) {
			head := start + large + end
			body := strings.Repeat("b", message.MaxRequestSize-len(head))
			b.raw(fmt.Sprintf("HPUB %s %d %d\r\n%s%s\r\n", message.RequestSubject(message.Order), len(head), message.MaxRequestSize, head, body))

			request := b.next(message.Order)
			require.NotEmpty(t, request.Headers()["z"])
			require.Equal(t, []string{"x"}, request.Headers()["bad name"], "the client takes what it would not send")
			d := largest()
			d.Header, d.Body = request.Headers(), request.Data()
			dead := d.Message()
			dead.ID = name
			got := b.stored(dead)
			require.Equal(t, body, string(got.Data))
			require.Equal(t, []string{"kept"}, got.Header["~small"])
			require.NotContains(t, got.Header, "z")
			require.NotContains(t, got.Header, "bad name")
			require.Len(t, got.Header["Esim-Reason"][0], 1<<10)
		})
	}
}

// raw speaks NATS's own protocol, and returns when the server has taken in everything.
func (b *bench) raw(commands string) {
	b.t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(b.t.Context(), "tcp", strings.TrimPrefix(b.nats.URL(), "nats://"))
	require.NoError(b.t, err)
	defer func() { require.NoError(b.t, conn.Close()) }()
	require.NoError(b.t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = conn.Write([]byte(`CONNECT {"verbose":false,"pedantic":false,"headers":true,"protocol":1}` + "\r\n" + commands + "PING\r\n"))
	require.NoError(b.t, err)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		require.NotContains(b.t, lines.Text(), "-ERR")
		if lines.Text() == "PONG" {
			return
		}
	}
	require.Fail(b.t, "the server did not answer", "%v", lines.Err())
}

// TestOneHeaderIsReadTheSameEveryTime has names that differ in case only, of which a map
// would give another one every time.
func TestOneHeaderIsReadTheSameEveryTime(t *testing.T) {
	t.Parallel()
	h := nats.Header{"content-type": {"c"}, "Content-Type": {"a", "b"}, "CONTENT-TYPE": nil, "Content-type": {"d"}}
	for range 100 {
		require.Equal(t, "a", message.Header(h, "content-type"))
	}
	require.Empty(t, message.Header(h, "content"))
	require.Empty(t, message.Header(nil, "content"))
	require.Empty(t, message.SenderHeaders(nil))
	require.NotNil(t, message.SenderHeaders(nil))
}
