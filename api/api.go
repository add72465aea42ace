// Package api is the contract with upstream, for people and for programs: an AsyncAPI 3
// document and the JSON Schemas (2020-12) that it refers to. Both are embedded; tests hold
// them against what package message does.
package api

import (
	"embed"
	"io/fs"
)

//go:embed asyncapi.yaml
var asyncAPI []byte

//go:embed schemas/*.json
var files embed.FS

// AsyncAPI returns the AsyncAPI document, in YAML. It refers to the schemas as
// ./schemas/<name>.
func AsyncAPI() []byte { return append([]byte(nil), asyncAPI...) }

// Schemas returns the JSON Schemas: order-request.json, topup-request.json,
// completed-event.json, failed-event.json, dead-letter-headers.json.
func Schemas() fs.FS {
	schemas, err := fs.Sub(files, "schemas")
	if err != nil {
		panic(err) // cannot happen: the name is a constant, and valid
	}
	return schemas
}
