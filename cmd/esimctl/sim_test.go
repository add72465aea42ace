package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSimRunsUntilInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errOut logBuffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"sim", "--addr", "127.0.0.1:0", "--balance", "12.34", "--json"},
			lookupIn(nil), strings.NewReader(""), &out, &errOut)
	}()
	require.Eventually(t, func() bool { return strings.Contains(errOut.String(), "until interrupted") }, 60*time.Second, time.Millisecond)
	s := fromJSON[simulator](t, out.String())
	require.Equal(t, "client", s.ClientID)
	require.True(t, strings.HasSuffix(s.BaseURL, "/customer/v2"), s.BaseURL)

	resp, err := http.Get(s.AdminURL + "/balance")
	require.NoError(t, err)
	defer resp.Body.Close()
	var balance struct{ Cents int }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&balance))
	require.Equal(t, 1234, balance.Cents)

	cancel()
	require.Equal(t, exitOK, <-code)
}

func TestSimPrintsAnEnvironment(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errOut logBuffer
	require.Equal(t, exitOK, run(ctx, []string{"sim", "--addr", "127.0.0.1:0"}, lookupIn(nil), strings.NewReader(""), &out, &errOut))
	require.Regexp(t, `^PRESSONE_BASE_URL=http://127\.0\.0\.1:\d+/customer/v2\nPRESSONE_CLIENT_ID=client\nPRESSONE_CLIENT_SECRET=secret\n$`, out.String())
}
