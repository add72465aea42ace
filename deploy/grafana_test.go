package deploy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// The dashboard is what Grafana's own schema asks for. The schema is kept here, and compared with
// Grafana's where -crds says where that is.
func TestDashboardIsValid(t *testing.T) {
	t.Parallel()
	const name = "grafana-dashboard.schema.json"
	path := filepath.Join("testdata", name)
	if *crds != "" {
		theirs, err := os.ReadFile(filepath.Join(*crds, name))
		require.NoError(t, err)
		var fresh bytes.Buffer
		require.NoError(t, json.Compact(&fresh, theirs))
		fresh.WriteByte('\n')
		if *update {
			require.NoError(t, os.WriteFile(path, fresh.Bytes(), 0o600))
		}
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, fresh.String(), string(kept), "run go test ./deploy -crds FOLDER -update")
	}
	schema, err := jsonschema.NewCompiler().Compile(path)
	require.NoError(t, err)
	f, err := os.Open(filepath.Join("grafana", "esimflow.json"))
	require.NoError(t, err)
	defer f.Close()
	dashboard, err := jsonschema.UnmarshalJSON(f)
	require.NoError(t, err)
	require.NoError(t, schema.Validate(dashboard))
}

// Read as Grafana 11 does: ids are unique, every cell of the 24 columns belongs to one panel at the
// most, rows go from side to side, no panel is of a kind that was given up, and all ask the
// data source that is chosen at the top.
func TestDashboardLayout(t *testing.T) {
	t.Parallel()
	var board struct {
		SchemaVersion int
		Templating    struct {
			List []struct{ Name, Type, Query string }
		}
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Datasource  struct{ Type, UID string }
			Targets     []struct {
				RefID      string
				Datasource struct{ UID string }
			}
		}
	}
	b, err := os.ReadFile(filepath.Join("grafana", "esimflow.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &board))
	require.Equal(t, 39, board.SchemaVersion, "that of Grafana 11")
	require.Len(t, board.Templating.List, 1)
	require.Equal(t, "datasource", board.Templating.List[0].Type)
	require.Equal(t, "prometheus", board.Templating.List[0].Query)
	ids, cells := map[int]bool{}, map[[2]int]string{}
	bottom := 0
	for _, p := range board.Panels {
		require.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		require.Contains(t, []string{"row", "stat", "timeseries", "state-timeline"}, p.Type, p.Title)
		g := p.GridPos
		require.LessOrEqual(t, g.X+g.W, 24, p.Title)
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				require.Empty(t, cells[[2]int{x, y}], "%s lies on another panel", p.Title)
				cells[[2]int{x, y}] = p.Title
			}
		}
		bottom = max(bottom, g.Y+g.H)
		if p.Type == "row" {
			require.Equal(t, 24, g.W, p.Title)
			continue
		}
		require.Equal(t, "${"+board.Templating.List[0].Name+"}", p.Datasource.UID, p.Title)
		refs := map[string]bool{}
		for _, q := range p.Targets {
			require.Equal(t, p.Datasource.UID, q.Datasource.UID, p.Title)
			require.False(t, refs[q.RefID], p.Title)
			refs[q.RefID] = true
		}
	}
	require.Len(t, cells, 24*bottom, "there are gaps")
}
