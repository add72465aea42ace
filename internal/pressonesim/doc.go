// Package pressonesim is PressOne as a program that keeps the truth: the
// customer API over real HTTP, an account with a balance, and books of what was
// really sold, whatever the answers said. Tests and development run against it.
//
// It is a second opinion. It was written from the API contract alone, declares
// its own wire structs, and imports nothing else of this module, so that a
// misreading in the client does not repeat itself here.
//
//	             before                       after
//	request ──▶ limits ──▶ fault ──▶ effect ──▶ fault ──▶ latency ──▶ answer
//	            token                  │
//	                                   ▼
//	                          books, balance, stock
//
// # Use
//
//	srv, err := pressonesim.Start(pressonesim.Config{})
//	defer srv.Close()
//	… PRESSONE_BASE_URL = srv.URL(), client id "client", secret "secret" …
//	srv.Inject(pressonesim.Fault{Endpoint: pressonesim.Orders, When: pressonesim.After, Action: pressonesim.Drop, Times: 1})
//	require.Len(t, srv.Ledger().Orders(reference), 1)
//
// [New] gives a [Sim] with no goroutine and no socket, whose Handler can be
// served by anybody; [Sim.Serve] listens. A Sim outlives its Server: an outage
// is a Close and a Serve at the same Addr.
//
// # Invariants
//
//   - An order is in [Ledger].Sold if and only if it was charged: price, stock,
//     balance, eSIMs and the order's row change in one step, or not at all.
//   - No answer, fault or knob takes back an effect; faults change what the
//     client hears and, Before, whether the request gets as far as the effect.
//   - Order ids are consecutive from 9666; ids, ICCIDs and matching ids depend
//     only on what was sold before, never on chance.
//   - A fault is used up only by a call that it has spoilt. Calls without a
//     valid token or over a limit never reach one.
//   - Each POST sells again. There is no idempotency key, as there is none.
//
// # When something fails
//
// A client that leaves ends its hanging or slow call, as does closing the
// server. A slow call that has not had its effect by then has none, unless
// Fault.Detached says otherwise. Values that mean nothing (a misspelt knob, a
// fault without action) panic in Go, where they are a programmer's mistake, and
// are answered with 400 by the admin endpoints.
//
// # Knobs
//
// [Knobs] lists them with their defaults, which are what the documentation
// says, or failing that, what is kindest. They are read when a call comes in
// and take effect for orders already made: set ListLag to an hour to hide an
// order, and to zero to reveal it. A [Package] can bring its own ReadyAfter,
// ListLag, OrderLag, Stock and Recycled, so that several scenarios fit into one
// simulator.
//
//	answers     validation_status, out_of_credit, bad_package, out_of_stock,
//	            rate_limited, no_retry_after, unauthorized, unknown_order,
//	            codes_as_strings, rendering, rendering_seed, empty_balances,
//	            packages_as_object, total_price, max_page_size
//	limits      limits, account_limit
//	tokens      expires_in, token_life
//	orders      order_description, topup_description, topup_sims,
//	            topup_matches_iccid, failed_rows, list_lag, order_lag
//	filters     like_case_sensitive, like_escaped
//	eSIMs       ready_after, not_ready_as, answer_without_sims, usage_age
//	time        latency, latencies
//
// # Faults
//
// A [Fault] matches by endpoint, package, ICCID and description (all optional),
// lets Skip requests through, then fires Times times (0: always):
//
//	drop        the connection is reset (RST), no answer
//	status      Status, Code, Reason, RetryAfter; or Body and ContentType
//	slow        Delay, then as usual
//	garbled     200, JSON that breaks off
//	missing_id  200, the answer without its id
//	redirect    307 to the same address
//	hang        no answer until the client leaves or the server closes
//
// on the two calls that buy, before or after the effect. Delay may be added to
// any action. [Chaos] spoils a share of the calls at random, the same ones for
// the same seed and order of arrival.
//
// # Admin endpoints
//
// Beside the API, without a token; durations are text such as "1m30s".
//
//	GET    /_sim/ledger                    books; ?description= for one
//	GET    /_sim/requests                  requests by endpoint; ?endpoint=sim&id=ICCID for one
//	PUT    /_sim/orders/{id}/status        {"status":"refunded"}
//	GET    /_sim/knobs                     all knobs
//	PATCH  /_sim/knobs                     {"list_lag":"5s"}
//	GET    /_sim/faults                    with hits
//	POST   /_sim/faults                    {"endpoint":"orders","when":"after","action":"drop","times":1}
//	DELETE /_sim/faults, /_sim/faults/{id}
//	GET    /_sim/chaos
//	PUT    /_sim/chaos                     {"rate":0.1,"seed":7,"actions":["drop"]}; {} ends it
//	POST   /_sim/tokens/expire             all tokens so far answer 401 4014
//	GET    /_sim/balance
//	PUT    /_sim/balance                   {"cents":0}
//	GET    /_sim/packages
//	POST   /_sim/packages                  {"id":"rare-7days-1gb","stock":3}
//	PUT    /_sim/packages/{id}/stock       {"left":0}; null is any number
//	POST   /_sim/sims                      {"iccid":"8934000000000009999"}
//	POST   /_sim/sims/{iccid}/recycle
//	PUT    /_sim/sims/{iccid}/status       {"status":"FINISHED"}
//
// # What it leaves out
//
// The voice API, webhooks, vouchers, refunds and asynchronous orders, which
// PressOne lacks or does not document well enough. Times without a zone are UTC.
package pressonesim
