// Package ops is what operators and machines ask a process: is it well, what has it
// counted, and, of the worker, what stands where and what to do about it.
//
// Two listeners: telemetry (/metrics, /healthz, /readyz), without a secret in it, for the
// cluster; and the API with the console, behind a token, for esimctl and people. Liveness never depends on
// the database, NATS or PressOne: an outage of theirs must not become a restart of ours.
package ops
