package deploy_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite grafana/esimflow.json")

// The dashboard in the repository is the one that panels_test.go describes. Run it with
// -update to rewrite the file.
func TestDashboardIsCurrent(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	require.NoError(t, enc.Encode(dashboard()))
	path := filepath.Join("grafana", "esimflow.json")
	if *update {
		require.NoError(t, os.WriteFile(path, want.Bytes(), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want.String(), string(got), "run go test ./deploy -update")
}

// Whoever looks at a panel at three in the morning is told what it shows, and in what unit;
// and no panel measures a rate over a window that the scrape interval could empty.
func TestPanels(t *testing.T) {
	t.Parallel()
	titles := map[string]bool{}
	for _, r := range rows() {
		width := 0
		for _, p := range r.panels {
			require.False(t, titles[r.title+p.title], "two panels %s in %s", p.title, r.title)
			titles[r.title+p.title] = true
			require.Regexp(t, `^[A-Z0-9].*\.$`, p.description(), p.title)
			require.Contains(t, []string{"none", "s", "d", "percentunit", "reqpm", "reqps", "ops", "bytes"}, p.unit, p.title)
			require.NotEmpty(t, p.targets, p.title)
			width += p.width
			for _, q := range p.targets {
				require.NotEmpty(t, q.legend, p.title)
				for _, window := range windows(q.expr) {
					require.Contains(t, []string{"$__rate_interval", "1h", "1d"}, window, p.title)
				}
			}
		}
		require.Zero(t, width%24, "the panels of %s leave a gap", r.title)
	}
	require.Equal(t, []string{"Now", "Orders", "Provider", "Intake and outbox", "Dead letters", "Workers"}, titlesOf(rows()))
}

func titlesOf(all []row) (titles []string) {
	for _, r := range all {
		titles = append(titles, r.title)
	}
	return titles
}

// windows lists the ranges in an expression.
func windows(expr string) (all []string) {
	for _, part := range strings.Split(expr, "[")[1:] {
		window, _, _ := strings.Cut(part, "]")
		all = append(all, window)
	}
	return all
}

type object = map[string]any

// dashboard is Grafana's classic JSON.
func dashboard() object {
	var panels []object
	id, y := 1, 0
	for _, r := range rows() {
		panels = append(panels, object{
			"id": id, "type": "row", "title": r.title, "collapsed": false, "panels": []any{},
			"gridPos": object{"x": 0, "y": y, "w": 24, "h": 1},
		})
		id++
		y++
		x := 0
		for _, p := range r.panels {
			height := 8
			if p.kind == "stat" {
				height = 4
			}
			panels = append(panels, p.json(id, object{"x": x, "y": y, "w": p.width, "h": height}))
			id++
			if x += p.width; x == 24 {
				x, y = 0, y+height
			}
		}
	}
	return object{
		"uid": "esimflow", "title": "esimflow", "description": "Buying eSIMs and top-ups: docs/runbook.md says what to do about it.",
		"tags": []string{"esimflow"}, "schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1,
		"time": object{"from": "now-6h", "to": "now"}, "refresh": "30s", "timezone": "browser",
		"annotations": object{"list": []any{}}, "links": []any{},
		"templating": object{"list": []object{{
			"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0, "includeAll": false, "multi": false,
			"refresh": 1, "regex": "", "options": []any{},
		}}},
		"panels": panels,
	}
}

func (p panel) json(id int, grid object) object {
	source := object{"type": "prometheus", "uid": "${datasource}"}
	var targets []object
	for i, q := range p.targets {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "datasource": source, "expr": q.expr, "legendFormat": q.legend,
			"editorMode": "code", "range": p.kind != "stat", "instant": p.kind == "stat",
		})
	}
	steps := p.steps
	if steps == nil {
		steps = []step{{nil, "blue"}}
	}
	var thresholds []object
	for _, s := range steps {
		thresholds = append(thresholds, object{"value": s.from, "color": s.color})
	}
	mappings := []object{}
	if p.words != nil {
		options := object{}
		for i, value := range slices.Sorted(maps.Keys(p.words)) {
			options[value] = object{"text": p.words[value], "index": i}
		}
		mappings = append(mappings, object{"type": "value", "options": options})
	}
	defaults := object{
		"unit": p.unit, "mappings": mappings, "color": object{"mode": "palette-classic"}, "thresholds": object{"mode": "absolute", "steps": thresholds},
	}
	if p.kind != "timeseries" {
		defaults["color"] = object{"mode": "thresholds"}
	} else {
		stacking := "none"
		fill := 8
		if p.stacked {
			stacking, fill = "normal", 40
		}
		if !p.below {
			defaults["min"] = 0
		}
		defaults["custom"] = object{
			"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": fill, "showPoints": "never", "spanNulls": false,
			"stacking": object{"mode": stacking, "group": "A"}, "thresholdsStyle": object{"mode": styleOf(p)},
		}
	}
	return object{
		"id": id, "type": p.kind, "title": p.title, "description": p.description(), "datasource": source, "gridPos": grid,
		"targets": targets, "fieldConfig": object{"defaults": defaults, "overrides": []any{}}, "options": p.options(),
	}
}

// styleOf draws the line that should not be crossed.
func styleOf(p panel) string {
	if p.steps == nil {
		return "off"
	}
	return "line"
}

func (p panel) options() object {
	legend := object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []any{}}
	switch p.kind {
	case "stat":
		return object{
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
			"colorMode":     "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
		}
	case "state-timeline":
		return object{"legend": legend, "tooltip": object{"mode": "single"}, "showValue": "never", "rowHeight": 0.8, "mergeValues": true}
	}
	return object{"legend": legend, "tooltip": object{"mode": "multi", "sort": "desc"}}
}
