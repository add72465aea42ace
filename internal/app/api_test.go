package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"

	"esimflow/internal/app"
)

// post asks the worker's API to do something.
func (b *bench) post(w *app.Worker, path, body string, want int) map[string]any {
	b.t.Helper()
	return b.call(w, http.MethodPost, path, body, want)
}

// get asks the worker's API for something.
func (b *bench) get(w *app.Worker, path string) map[string]any {
	b.t.Helper()
	return b.call(w, http.MethodGet, path, "", http.StatusOK)
}

func (b *bench) call(w *app.Worker, method, path, body string, want int) map[string]any {
	b.t.Helper()
	status, text := b.ask(w, method, path, body)
	require.Equal(b.t, want, status, "%s", text)
	var v any
	require.NoError(b.t, json.Unmarshal(text, &v))
	if list, ok := v.([]any); ok {
		return map[string]any{"list": list}
	}
	object, _ := v.(map[string]any)
	return object
}

// ask returns what the API answers, whatever that is.
func (b *bench) ask(w *app.Worker, method, path, body string) (status int, answer []byte) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+w.APIAddr()+"/api/v1/"+path, strings.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	require.NoError(b.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(b.t, err)
	return res.StatusCode, text
}
