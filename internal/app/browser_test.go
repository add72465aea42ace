//go:build browser

package app_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// extremes are the screens when everything on them is as long as it may be.
func (s *scene) extremes() map[string]string {
	s.t.Helper()
	long := strings.Repeat("0123456789abcdef", 8)
	s.publish(message.Order, `{"request_id":"`+long+`","package_id":"kallur-digital-7days-1gb","quantity":50,"metadata":{"note":"`+long+long+`"}}`)
	s.completed(long)
	cookies := s.ask("/log-in", url.Values{"name": {strings.Repeat("m", 80)}, "token": {opsToken}}, nil).Cookies()
	for _, form := range []url.Values{
		{"do": {"pause"}, "what": {"kind topup"}, "reason": {strings.Repeat("unbroken", 60)}},
		{"do": {"pause"}, "what": {"kind topup"}, "reason": {strings.Repeat("in many words ", 35)}}, // it is already
		{"do": {"resume"}, "what": {"kind topup"}, "reason": {"over"}},
	} {
		p := s.ask("/gate", form, cookies)
		require.Less(s.t, p.StatusCode, http.StatusInternalServerError, p.text)
	}
	all := s.screens()
	all["a long saga"] = "/sagas/" + s.sagaID(long)
	all["nothing found by a long name"] = "/sagas?q=" + long + long
	all["dead letters of a long code"] = "/dead-letters?code=" + long
	return all
}

// The console in a real Chromium: every screen at two widths, light and dark, with
// JavaScript and without, by mouse and by keyboard; then a replay and a reveal. What it
// does there is in internal/ops/browser/walk.mjs.
func TestConsoleInChromium(t *testing.T) {
	s := setup(t, pressonesim.Config{}).scene()
	s.publish(message.Order, `{"request_id":"again","package_id":"kallur-digital-7days-1gb","quantity":3}`)
	s.completed("again")
	facts, err := json.Marshal(map[string]any{
		"base": "http://" + s.w.APIAddr(), "token": opsToken, "screens": s.extremes(),
		"secrets": append(s.codes(), "LPA:1$", "CANARY-MATCHING-ID", "canary-of-upstream", opsToken),
		"bought":  "/sagas/" + s.sagaID("again"),
	})
	require.NoError(t, err)
	dir, err := filepath.Abs(filepath.Join(root, "internal/ops/browser"))
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "node", "walk.mjs")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "FACTS="+string(facts))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
	require.Equal(t, 1, s.count("SELECT count(*) FROM reveal WHERE actor = 'Ann' AND reason = 'the customer cannot scan it'"))
	require.Equal(t, 6, s.count("SELECT count(*) FROM dead_letter WHERE code = '11' AND status = 'replayed' AND actor = 'Ann'"))
}
