package app

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"esimflow/internal/pressone"
)

// sink is a log that a test reads while others write to it.
type sink struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// PressOne's gateway sends an answer twice. Nobody has asked for the second one, and net/http says so to Go's own logger, with what is
// in it. The log has the first half of that. (Not parallel: that logger is one for all.)
func TestWhatLibrariesSayHoldsNoCode(t *testing.T) {
	const code = "LPA:1$smdp.example.com$CANARY-MATCHING-ID"
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = lis.Close() }()
	go func() {
		c, err := lis.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		in := bufio.NewReader(c)
		req, err := http.ReadRequest(in)
		if err != nil || req.ParseMultipartForm(1<<20) != nil {
			return
		}
		body := `{"data":{"id":9666,"sims":[{"qrcode":"` + code + `"}]}}`
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		_, _ = c.Write([]byte(answer + answer))
		_, _ = in.ReadByte() // until the other side closes
	}()

	var log sink
	defer stdlog.SetOutput(os.Stderr)
	defer stdlog.SetFlags(stdlog.Flags())
	adoptLibraries(slog.New(slog.NewTextHandler(&log, nil)))
	c, err := pressone.New(pressone.Config{BaseURL: "http://" + lis.Addr().String(), ClientID: "id", ClientSecret: "secret", Tokens: aToken{}})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.SubmitOrder(t.Context(), func() error { return nil }, pressone.OrderRequest{PackageID: "p", Quantity: 1, Description: "r"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return bytes.Contains([]byte(log.String()), []byte("Unsolicited response")) }, 60*time.Second, time.Millisecond)
	require.NotContains(t, log.String(), "CANARY")
}

// aToken is a source that always has the same token.
type aToken struct{}

func (aToken) Token(context.Context) (pressone.Token, error) {
	return pressone.Token{Value: "t", Version: 1}, nil
}

func (aToken) Reject(context.Context, pressone.Token) error { return nil }
