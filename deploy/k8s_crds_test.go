package deploy_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// crds is a folder with the definitions of custom resources, as their projects publish them.
var crds = flag.String("crds", "", "folder of CustomResourceDefinitions to compare testdata/crds.json with; rewrites it together with -update")

// keptKeywords are what is kept of a schema: that by which something can be wrong.
var keptKeywords = []string{
	"type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "required", "oneOf", "anyOf", "not",
}

// trim reduces an OpenAPI schema to what the value makes use of. Fields that are not in the
// schema are not in what is left either, which allows no others.
func trim(schema map[string]any, values []any) map[string]any {
	kept := map[string]any{}
	for _, k := range keptKeywords {
		if v, ok := schema[k]; ok {
			kept[k] = v
		}
	}
	if schema["x-kubernetes-int-or-string"] == true {
		delete(kept, "anyOf")
		kept["type"] = []any{"integer", "string"}
	}
	if items, ok := schema["items"].(map[string]any); ok {
		var all []any
		for _, v := range values {
			if list, ok := v.([]any); ok {
				all = append(all, list...)
			}
		}
		kept["items"] = trim(items, all)
	}
	byField := map[string][]any{}
	for _, v := range values {
		if fields, ok := v.(map[string]any); ok {
			for k, v := range fields {
				byField[k] = append(byField[k], v)
			}
		}
	}
	if rest, ok := schema["additionalProperties"].(map[string]any); ok {
		kept["additionalProperties"] = trim(rest, slices.Concat(slices.Collect(maps.Values(byField))...))
	}
	if properties, ok := schema["properties"].(map[string]any); ok {
		used := map[string]any{}
		for name, values := range byField {
			if property, ok := properties[name].(map[string]any); ok {
				used[name] = trim(property, values)
			}
		}
		kept["properties"] = used
		if schema["x-kubernetes-preserve-unknown-fields"] != true {
			kept["additionalProperties"] = false
		}
	}
	return kept
}

// specs groups what the manifests say in `spec` by version and kind of custom resource.
func specs(t *testing.T) map[string][]any {
	t.Helper()
	found := map[string][]any{}
	for _, o := range everythingInProd(t) {
		if c, ok := o.Value.(*custom); ok {
			spec, err := jsonschema.UnmarshalJSON(bytes.NewReader(c.Spec))
			require.NoError(t, err, o)
			found[o.Version+" "+o.Kind] = append(found[o.Version+" "+o.Kind], spec)
		}
	}
	return found
}

// definitions reads the schemas of `spec` from a folder, trimmed to what is used.
func definitions(t *testing.T, dir string, used map[string][]any) map[string]any {
	t.Helper()
	found := map[string]any{}
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	require.NoError(t, err)
	for _, path := range paths {
		f, err := os.Open(path)
		require.NoError(t, err)
		for dec := yaml.NewDecoder(f); ; {
			var crd struct {
				Spec struct {
					Group    string `yaml:"group"`
					Names    struct{ Kind string }
					Versions []struct {
						Name   string
						Schema struct {
							OpenAPI struct {
								Properties map[string]map[string]any
							} `yaml:"openAPIV3Schema"`
						}
					}
				}
			}
			if dec.Decode(&crd) != nil {
				break
			}
			for _, v := range crd.Spec.Versions {
				key := crd.Spec.Group + "/" + v.Name + " " + crd.Spec.Names.Kind
				if values, ok := used[key]; ok {
					found[key] = trim(v.Schema.OpenAPI.Properties["spec"], values)
				}
			}
		}
		require.NoError(t, f.Close())
	}
	return found
}

// Every custom resource is what its project's schema asks for: the part of the schemas that the
// manifests use is kept here, and compared with the projects' own where -crds says where they are.
func TestCustomResources(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "crds.json")
	used := specs(t)
	if *crds != "" {
		fresh, err := json.MarshalIndent(definitions(t, *crds, used), "", " ")
		require.NoError(t, err)
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o750))
			require.NoError(t, os.WriteFile(path, append(fresh, '\n'), 0o600))
		}
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(fresh)+"\n", string(kept), "run go test ./deploy -crds FOLDER -update")
	}
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	kept, err := jsonschema.UnmarshalJSON(f)
	require.NoError(t, err)
	schemas, ok := kept.(map[string]any)
	require.True(t, ok)
	require.Len(t, schemas, len(used))
	for key, values := range used {
		require.Contains(t, schemas, key)
		compiler := jsonschema.NewCompiler()
		require.NoError(t, compiler.AddResource("mem:///schema", schemas[key]))
		schema, err := compiler.Compile("mem:///schema")
		require.NoError(t, err, key)
		for _, v := range values {
			require.NoError(t, schema.Validate(v), key)
		}
	}
}
