package pressone

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// An eSIM, an order of it, and the codes alone are printed in every way that there is: none shows a code. Revealed, it is as it came, and what
// is stored so is read back whole.
func TestCodesDoNotShow(t *testing.T) {
	t.Parallel()
	confirmation := Code("CANARY-CONFIRMATION")
	sim := Sim{
		ICCID: "8934071000000000006", LPA: "CANARY-HOST", MatchingID: "CANARY-ID", QRCode: "LPA:1$CANARY-HOST$CANARY-ID", QRCodeURL: "https://CANARY",
		DirectAppleInstallationURL: "https://CANARY/apple", ConfirmationCode: &confirmation,
	}
	order := Order{ID: 1, Sims: []Sim{sim}}
	for _, v := range []any{sim, &sim, order, &order, []Sim{sim}, sim.QRCode, &confirmation, map[string]any{"a": sim.LPA}, struct{ C Code }{sim.LPA}} {
		var shown bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			_, _ = fmt.Fprintf(&shown, verb, v)
		}
		text, err := json.Marshal(v)
		require.NoError(t, err)
		shown.Write(text)
		slog.New(slog.NewTextHandler(&shown, nil)).InfoContext(t.Context(), "it", "v", v)
		slog.New(slog.NewJSONHandler(&shown, nil)).InfoContext(t.Context(), "it", "v", v)
		require.NotContains(t, shown.String(), "CANARY", "%T", v)
		require.NotContains(t, shown.String(), fmt.Sprintf("%x", "CANARY"), "%T", v)
	}
	require.Empty(t, Code("").String())

	text, err := json.Marshal(sim.Reveal())
	require.NoError(t, err)
	var back Sim
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, sim, back)
}
