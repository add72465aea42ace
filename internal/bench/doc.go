// Package bench measures what a saga costs, from the request on JetStream to the result on
// JetStream, with everything real and in a process of its own on this machine.
//
//	bench ──requests──▶ NATS ──▶ worker ──▶ PressOne's simulator
//	  ▲                  ▲         │
//	  └─────results──────┤         ▼
//	                     └─ publisher ◀── Postgres (durable, TCP on loopback)
//
// The processes are this program again, by a hidden command ([Process]); Postgres is
// devstack's. [Measure] is all there is to call.
//
// What is measured, and how, so that figures can be compared:
//
//   - Backlog (Rate 0): the workers are ready and their consumers paused while all requests
//     are put on the stream; the clock runs from the consumers' release to the last result.
//   - Rate: requests are published evenly; each one's latency is from just before it is
//     published to the arrival of its result, both in this process.
//   - CPU, WAL and counters run from the release (the first request) until the outbox is
//     empty. Postgres's counters are read after its clients have gone, because a connection
//     may keep its share to itself for ten seconds.
//   - Every run has new workers and a new publisher, and its own warm-up, which is not
//     counted. Postgres, NATS and the simulator go on, and so the tables grow from run to run,
//     as they do in production. Before each run: VACUUM (ANALYZE) and a CHECKPOINT.
//   - Every run is checked afterwards: a fast run that lost or doubled something is an error.
//
// The simulator shares the machine: its CPU is listed, and so is what other programs took
// meanwhile, which makes a run worth nothing if it is much.
//
// It needs Linux, for /proc.
package bench
