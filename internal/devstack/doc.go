// Package devstack runs the real Postgres and the real NATS, for tests and for
// `esimctl dev`.
//
//	test process ──pipe──▶ sh (supervisor) ──▶ postgres ──▶ data directory
//	     │                                        ▲          (copy of a cached initdb)
//	     └────────── unix socket ─────────────────┘
//	     └── nats-server, in the process itself, JetStream on disk
//
// [Postgres] gives a test a migrated database of its own, cloned from a template in one
// server per test process. [PrivatePostgres] gives it a server of its own, which may be
// stopped and started. [NATS] does the same for JetStream, and [NATSCluster] for three
// servers with replicas. Plain `go test` is enough:
// nothing has to be started before and nothing is left after.
//
// Invariants:
//
//   - A server never outlives the process that started it, however that process ends. A
//     shell that holds the other end of a pipe stops Postgres when the pipe closes, and
//     removes what was temporary; kill -9 closes pipes too.
//   - Postgres listens on a unix socket in a directory that only its account (and root)
//     can enter, and nowhere else: no port to collide on, no stranger on 127.0.0.1. Who
//     asks for [PostgresConfig].Loopback gets a port, and a password for it.
//   - Postgres refuses to run as root, so a root process starts it as `postgres`, or as
//     `nobody` where there is no such account.
//   - Commits survive [PostgresServer.StopImmediate] even in tests: fsync is off there, but
//     synchronous_commit is on, so what was acknowledged has reached the kernel.
//   - No goroutine is left waiting in the test process for a server it has started, so a
//     leak check sees only the leaks of the code under test.
//
// Binaries are looked for on PATH and in the usual directories, newest version first, and
// downloaded where there are none. The package needs a unix: it uses file locks, sessions
// and process credentials.
package devstack
