// Package config turns the environment into one validated struct.
//
//	environment, files ──▶ Load ──▶ Config ──▶ the constructors
//
// Every variable is one field of [Config], whose tags carry its name, default, meaning and
// an example; docs/config.md is generated from them.
//
// Invariants:
//
//   - Nothing else in the module reads the environment, and it is read once. (OpenTelemetry's library reads
//     its own variables; docs/config.md says which of them matter.)
//   - All problems are reported at once, each with the variable's name, what is wrong and a
//     value that would be right.
//   - A secret is never printed, in a problem as little as in the configuration: [Secret]
//     and [URL] print what is harmless whatever the verb, and give the rest only to who
//     asks by Reveal.
//   - A secret may come from a file, named by the variable `<NAME>_FILE`, so that it shows
//     in no process list and no manifest.
package config
