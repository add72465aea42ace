package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"esimflow/migrations"
)

// An operator asks what runs, and gets it in words or as JSON.
func TestVersion(t *testing.T) {
	t.Parallel()
	r := runIn(t, nil, "version", "--json")
	require.Equal(t, exitOK, r.code, r.err)
	var got versionView
	require.NoError(t, json.Unmarshal([]byte(r.out), &got))
	require.Equal(t, migrations.Latest(), got.Schema)
	require.True(t, strings.HasPrefix(got.Go, "go1."), got.Go)
	require.NotEmpty(t, got.Version)

	r = runIn(t, nil, "version")
	require.Equal(t, exitOK, r.code, r.err)
	require.True(t, strings.HasPrefix(r.out, "esimflow "), r.out)
}

// The bill of materials is what CycloneDX's own schema for 1.6 asks for, its own library reads
// it, and it names what the program is linked from.
func TestSBOM(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "worker")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", file, "esimflow/cmd/worker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	r := runIn(t, nil, "version", "--sbom="+file)
	require.Equal(t, exitOK, r.code, r.err)
	require.Equal(t, r.out, runIn(t, nil, "version", "--sbom="+file).out, "the same each time")

	value, err := jsonschema.UnmarshalJSON(strings.NewReader(r.out))
	require.NoError(t, err)
	require.NoError(t, cycloneDX(t).Validate(value))

	var bom cyclonedx.BOM
	require.NoError(t, cyclonedx.NewBOMDecoder(bytes.NewReader([]byte(r.out)), cyclonedx.BOMFileFormatJSON).Decode(&bom))
	require.Equal(t, cyclonedx.SpecVersion1_6, bom.SpecVersion)
	require.Equal(t, "esimflow/cmd/worker", bom.Metadata.Component.Name)
	versions, refs := map[string]string{}, map[string]bool{}
	for _, c := range *bom.Components {
		require.False(t, refs[c.BOMRef], c.BOMRef)
		refs[c.BOMRef] = true
		versions[c.Name] = c.Version
	}
	require.NotEmpty(t, versions["stdlib"])
	require.NotContains(t, versions, "github.com/stretchr/testify", "tests are not shipped")
	require.NotContains(t, versions, "sigs.k8s.io/kustomize/api", "tests are not shipped")
	for _, name := range []string{"github.com/nats-io/nats.go", "github.com/jackc/pgx/v5"} {
		require.True(t, strings.HasPrefix(versions[name], "v"), name)
	}

	r = runIn(t, nil, "version", "--sbom=/nowhere")
	require.Equal(t, exitFailed, r.code)
}

// A module that is replaced is listed as what stands for it, and versions are escaped as package
// URLs want it.
func TestBillOfReplacedModules(t *testing.T) {
	t.Parallel()
	b := billOf(&debug.BuildInfo{
		GoVersion: "go1.26.8", Path: "esimflow/cmd/worker", Main: debug.Module{Path: "esimflow", Version: "(devel)"},
		Deps: []*debug.Module{{Path: "a.example/Old", Version: "v1.0.0", Replace: &debug.Module{Path: "a.example/New", Version: "v2.0.0+incompatible"}}},
	})
	require.Equal(t, "pkg:golang/esimflow/cmd/worker", b.Metadata.Component.PURL)
	require.Equal(t, "pkg:golang/stdlib@1.26.8", b.Components[0].PURL)
	require.Equal(t, "pkg:golang/a.example/new@v2.0.0%2Bincompatible", b.Components[1].PURL)
	require.Equal(t, []string{b.Components[0].Ref, b.Components[1].Ref}, b.Dependencies[0].DependsOn)
}

// cycloneDX is the schema of bills of materials, as its project's module has it.
func cycloneDX(t *testing.T) *jsonschema.Schema {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go")
	out, err := list.Output()
	require.NoError(t, err)
	dir := filepath.Join(strings.TrimSpace(string(out)), "schema")
	compiler := jsonschema.NewCompiler()
	for url, name := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  "bom-1.6.schema.json",
		"http://cyclonedx.org/schema/spdx.schema.json":     "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		document, err := jsonschema.UnmarshalJSON(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, compiler.AddResource(url, document))
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	require.NoError(t, err)
	return schema
}
