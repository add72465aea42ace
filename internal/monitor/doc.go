// Package monitor reads what no single process knows by itself, for its metrics: how many
// sagas are in which state, how old the oldest is, what is due, what may have been bought
// and is not known, the dead letters, the outbox, what waits on the stream, the balance.
//
//	Postgres ─┐   every 15 s or so,         ┌───────┐
//	JetStream ├─► each part by itself ─────►│ cache │──► /metrics
//	PressOne ─┘                             └───────┘
//
// Every process reads the same from Postgres and JetStream and shows the same, so whoever
// queries takes the max over the processes, never the sum.
//
// Invariants:
//
//   - A scrape reads the cache and nothing else: it does not wait for anybody.
//   - What was read stays as it was when it cannot be read again, and its age is shown
//     (esimflow_collector_age_seconds). But ages grow on: what is kept of them is a moment.
//   - What was never read is not shown: zero would be a claim.
//   - Nothing is read that grows with what has ended: open sagas, open letters and the
//     outbox are counted in indexes that hold nothing else. A part that took long is read
//     less often, so that reading takes a twentieth of one connection's time at the most.
//   - Labels are closed sets. Codes and currencies that nobody expects are "other".
package monitor
