// Package app wires the processes: what cmd/worker and cmd/publisher run, and what
// esimctl dev runs in one process.
//
//	Worker     intake → sagas → outbox; the API; telemetry
//	Publisher  outbox → JetStream; telemetry
//
// Both are built from a configuration, touch nothing until Run, and run until their
// context is cancelled. Stopping a worker: readiness fails, intake commits what it has
// taken, sagas in flight are finished within their budget, then the API goes.
package app
