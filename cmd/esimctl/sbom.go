package main

import (
	"runtime/debug"
	"strings"
)

// bill is a bill of materials, as CycloneDX 1.6 has it. It holds nothing that differs between
// two builds of the same source: no time, no serial number.
type bill struct {
	Schema       string           `json:"$schema"`
	Format       string           `json:"bomFormat"`
	Spec         string           `json:"specVersion"`
	Version      int              `json:"version"`
	Metadata     billMetadata     `json:"metadata"`
	Components   []billComponent  `json:"components"`
	Dependencies []billDependency `json:"dependencies"`
}

type billMetadata struct {
	Component billComponent `json:"component"`
}

type billComponent struct {
	Type       string         `json:"type"`
	Ref        string         `json:"bom-ref"`
	Name       string         `json:"name"`
	Version    string         `json:"version,omitempty"`
	Scope      string         `json:"scope,omitempty"`
	PURL       string         `json:"purl"`
	Properties []billProperty `json:"properties,omitempty"`
}

type billProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type billDependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// billOf lists what a program was linked from: the standard library and every module, with the
// checksum that go.sum has. Which module wanted which, the linker does not know: all are the
// program's.
func billOf(info *debug.BuildInfo) bill {
	main := billComponent{Type: "application", Name: info.Path, Version: info.Main.Version, PURL: purl(info.Path, info.Main.Version)}
	main.Ref = main.PURL
	for _, s := range info.Settings {
		if strings.HasPrefix(s.Key, "GO") || s.Key == "-trimpath" || s.Key == "CGO_ENABLED" {
			main.Properties = append(main.Properties, billProperty{Name: "go:build:" + s.Key, Value: s.Value})
		}
	}
	standard := purl("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
	b := bill{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", Spec: "1.6", Version: 1,
		Metadata: billMetadata{Component: main},
		Components: []billComponent{{
			Type: "library", Ref: standard, Name: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go"), Scope: "required", PURL: standard,
		}},
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := billComponent{Type: "library", Name: m.Path, Version: m.Version, Scope: "required", PURL: purl(m.Path, m.Version)}
		c.Ref = c.PURL
		if m.Sum != "" {
			c.Properties = []billProperty{{Name: "go:sum", Value: m.Sum}}
		}
		b.Components = append(b.Components, c)
	}
	all := billDependency{Ref: main.Ref}
	for _, c := range b.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
		b.Dependencies = append(b.Dependencies, billDependency{Ref: c.Ref})
	}
	b.Dependencies = append([]billDependency{all}, b.Dependencies...)
	return b
}

// purl is the package URL of a Go module.
func purl(path, version string) string {
	u := "pkg:golang/" + strings.ToLower(path)
	if version != "" && version != "(devel)" {
		u += "@" + strings.ReplaceAll(version, "+", "%2B")
	}
	return u
}
