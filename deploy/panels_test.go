package deploy_test

import "strings"

// panel is one picture of the dashboard.
type panel struct {
	title, about string
	kind         string // stat, timeseries, state-timeline, table
	unit         string // Grafana's id
	width        int    // of 24
	targets      []target
	stacked      bool
	below        bool              // values may be below zero
	steps        []step            // thresholds; nil: none
	words        map[string]string // for values
	noData       bool              // an empty result is good news
}

type target struct{ expr, legend string }

type step struct {
	from  any // number; nil for the first
	color string
}

type row struct {
	title  string
	panels []panel
}

func q(expr, legend string) target { return target{expr, legend} }

// quantile asks for classic buckets or native ones, whichever the server has stored.
func quantile(phi, metric, selector, by string) string {
	classic, native := "le", ""
	if by != "" {
		classic, native = by+", le", " by ("+by+")"
	}
	return "histogram_quantile(" + phi + ", sum by (" + classic + ") (rate(" + metric + "_bucket" + selector + "[$__rate_interval]))) or " +
		"histogram_quantile(" + phi + ", sum" + native + " (rate(" + metric + selector + "[$__rate_interval])))"
}

func bad(from float64) []step { return []step{{nil, "green"}, {from, "red"}} }

func worse(warn, bad float64) []step { return []step{{nil, "green"}, {warn, "orange"}, {bad, "red"}} }

const durations = "esimflow_saga_duration_seconds"

// rows is the dashboard, in the order in which one asks: is it all right now, and if not,
// where does it stop.
func rows() []row {
	flow := []string{"pending", "submitting", "unknown", "polling", "notifying"}
	var states, oldest []target
	for _, s := range flow {
		states = append(states, q(`sum(max by (kind, state) (esimflow_sagas{state="`+s+`"}))`, s))
		oldest = append(oldest, q(`max(esimflow_saga_oldest_age_seconds{state="`+s+`"})`, s))
	}
	open := map[string]string{"0": "closed", "1": "open"}
	openSteps := []step{{nil, "red"}, {1, "green"}}
	return []row{
		{"Now", []panel{
			{title: "Requests", about: "Requests accepted a minute.", kind: "stat", unit: "reqpm", width: 4, targets: []target{
				q(`sum(rate(esimflow_intake_messages_total{result="accepted"}[$__rate_interval])) * 60`, "accepted"),
			}},
			{
				title: "Success", about: "Of the sagas that ended in the last hour: those that completed. Replayed ones count again.", kind: "stat", unit: "percentunit", width: 4,
				steps: []step{{nil, "red"}, {0.9, "orange"}, {0.99, "green"}}, targets: []target{
					q(`sum(increase(esimflow_saga_ends_total{end="completed"}[1h])) / sum(increase(esimflow_saga_ends_total{end=~"completed|dead_lettered"}[1h]))`, "completed"),
				},
			},
			{
				title: "Request to result", about: "How long it takes from the request on the stream to its completion, for half of them and for 95 in 100. None completed: no value.",
				kind: "stat", unit: "s", width: 4, targets: []target{
					q(quantile("0.5", durations, `{end="completed"}`, ""), "p50"), q(quantile("0.95", durations, `{end="completed"}`, ""), "p95"),
				},
			},
			{
				title: "Oldest against its limit", about: "The oldest saga of each state against what its state may take; the worst of them. 100 % is the limit.", kind: "stat", unit: "percentunit", width: 4,
				steps: worse(0.5, 1), targets: []target{
					q(`max(max by (state) (esimflow_saga_oldest_age_seconds) / max by (state) (esimflow_saga_age_limit_seconds))`, "of the limit"),
				},
			},
			{title: "Dead letters open", about: "What waits for an operator.", kind: "stat", unit: "none", width: 4, steps: worse(1, 20), targets: []target{
				q(`sum(max by (code) (esimflow_dead_letters))`, "open"),
			}},
			{
				title: "Unknown exposure", about: "The price of what may have been bought and is not known to be, at what each package last cost. In the currency's unit.", kind: "stat", unit: "none", width: 4,
				steps: bad(0.01), targets: []target{
					q(`max by (currency) (esimflow_unknown_exposure{currency="USD"}) or max by (currency) (esimflow_unknown_exposure) > 0`, "{{currency}}"),
				},
			},
			{title: "Intake lag", about: "Requests on the stream that are not decided on yet.", kind: "stat", unit: "none", width: 4, steps: worse(1000, 10000), targets: []target{
				q(`sum(max by (consumer) (esimflow_intake_pending_messages)) + sum(max by (consumer) (esimflow_intake_ack_pending_messages))`, "messages"),
			}},
			{title: "Outbox lag", about: "Age of the oldest result that is not published yet.", kind: "stat", unit: "s", width: 4, steps: worse(10, 120), targets: []target{
				q(`max(esimflow_outbox_oldest_age_seconds)`, "oldest"),
			}},
			{
				title: "Gate", about: "Whether PressOne may be asked: for tokens, for orders, for reading.", kind: "stat", unit: "none", width: 8, words: open, steps: openSteps,
				targets: []target{q(`min by (lane) (esimflow_provider_gate_open)`, "{{lane}}")},
			},
			{
				title: "Balance", about: "For how many days the balance lasts at the rate of the last 24 hours. Empty: nothing was bought, or the account shows no balance.",
				kind: "stat", unit: "d", width: 4, noData: true, steps: []step{{nil, "red"}, {1, "orange"}, {3, "green"}}, targets: []target{
					q(`max by (currency) (esimflow_provider_balance) / (sum by (currency) (increase(esimflow_spend_total[1d])) > 0)`, "{{currency}}"),
				},
			},
			{title: "Due", about: "Sagas that are due and that no worker has taken up yet.", kind: "stat", unit: "none", width: 4, steps: worse(1000, 10000), targets: []target{
				q(`max(esimflow_saga_due)`, "due"),
			}},
		}},
		{"Orders", []panel{
			{title: "Started and ended", about: "Requests accepted, and sagas ended, a second. Lines apart for long: something gathers.", kind: "timeseries", unit: "reqps", width: 12, targets: []target{
				q(`sum(rate(esimflow_intake_messages_total{result="accepted"}[$__rate_interval]))`, "accepted"),
				q(`sum by (end) (rate(esimflow_saga_ends_total[$__rate_interval]))`, "{{end}}"),
			}},
			{title: "Request to result", about: "From the request on the stream to completion.", kind: "timeseries", unit: "s", width: 12, targets: []target{
				q(quantile("0.5", durations, `{end="completed"}`, ""), "p50"), q(quantile("0.95", durations, `{end="completed"}`, ""), "p95"),
				q(quantile("0.99", durations, `{end="completed"}`, ""), "p99"),
			}},
			{title: "Open sagas by state", about: "In the order of the flow, from the bottom.", kind: "timeseries", unit: "none", width: 12, stacked: true, targets: states},
			{title: "Oldest by state", about: "Since the stage began: accepted or replayed, submitted, bought, result committed.", kind: "timeseries", unit: "s", width: 12, targets: oldest},
			{title: "What went otherwise", about: "Transitions a second that a smooth order does not have: lost answers, look-ups, back-offs, refusals.", kind: "timeseries", unit: "ops", width: 24, noData: true, targets: []target{
				q(`sum by (event) (rate(esimflow_saga_transitions_total{event!~"accepted|submit_started|submitted|ready|announced"}[$__rate_interval])) > 0`, "{{event}}"),
			}},
		}},
		{"Provider", []panel{
			{title: "Requests by outcome", about: "Calls to PressOne a second by what is known of their effect.", kind: "timeseries", unit: "reqps", width: 8, stacked: true, targets: []target{
				q(`sum by (outcome) (rate(esimflow_provider_requests_total[$__rate_interval]))`, "{{outcome}}"),
			}},
			{title: "Trouble by code", about: "Calls that did not succeed, a second, by operation and PressOne's code or the HTTP status.", kind: "timeseries", unit: "reqps", width: 8, noData: true, targets: []target{
				q(`sum by (operation, outcome, code) (rate(esimflow_provider_requests_total{outcome!="ok"}[$__rate_interval])) > 0`, "{{operation}} {{outcome}} {{code}}"),
			}},
			{title: "Latency", about: "95 in 100 calls to PressOne are answered within this.", kind: "timeseries", unit: "s", width: 8, targets: []target{
				q(quantile("0.95", "esimflow_provider_request_seconds", "", "operation"), "{{operation}}"),
			}},
			{title: "Gate", about: "When each lane was open.", kind: "state-timeline", unit: "none", width: 12, words: open, steps: openSteps, targets: []target{
				q(`min by (lane) (esimflow_provider_gate_open)`, "{{lane}}"),
			}},
			{title: "Closures", about: "How often a lane was closed, by reason.", kind: "timeseries", unit: "none", width: 6, noData: true, targets: []target{
				q(`sum by (lane, reason) (increase(esimflow_provider_gate_closures_total[$__rate_interval])) > 0`, "{{lane}} {{reason}}"),
			}},
			{title: "Token", about: "Time until the access token is replaced. Below zero for minutes: nobody can get a new one. Empty: there was none yet.", kind: "timeseries", unit: "s", width: 6, below: true, noData: true, steps: []step{{nil, "red"}, {0, "green"}}, targets: []target{
				q(`max(esimflow_provider_token_expiry_timestamp_seconds > 0) - time()`, "left"),
			}},
			{title: "Balance", about: "What the account has left.", kind: "timeseries", unit: "none", width: 6, targets: []target{
				q(`max by (currency) (esimflow_provider_balance)`, "{{currency}}"),
			}},
			{title: "Spend", about: "What was bought in an hour, by its price.", kind: "timeseries", unit: "none", width: 6, targets: []target{
				q(`sum by (kind, currency) (increase(esimflow_spend_total{currency="USD"}[1h])) or sum by (kind, currency) (increase(esimflow_spend_total[1h])) > 0`, "{{kind}} {{currency}}"),
			}},
			{title: "Not known to be bought", about: "Submissions whose outcome is not known, those among open dead letters included, and how many of them have no price.", kind: "timeseries", unit: "none", width: 6, targets: []target{
				q(`max by (where) (esimflow_unknown_outcomes)`, "{{where}}"), q(`max(esimflow_unknown_exposure_unpriced)`, "without a price"),
			}},
			{title: "Unknown exposure", about: "What those may cost, at what each package last cost.", kind: "timeseries", unit: "none", width: 6, targets: []target{
				q(`max by (currency) (esimflow_unknown_exposure{currency="USD"}) or max by (currency) (esimflow_unknown_exposure) > 0`, "{{currency}}"),
			}},
		}},
		{"Intake and outbox", []panel{
			{title: "Requests by result", about: "What became of messages, a second.", kind: "timeseries", unit: "reqps", width: 8, targets: []target{
				q(`sum by (kind, result) (rate(esimflow_intake_messages_total[$__rate_interval]))`, "{{kind}} {{result}}"),
			}},
			{title: "On the stream", about: "Not delivered yet, delivered and not acknowledged, and of these delivered again.", kind: "timeseries", unit: "none", width: 8, targets: []target{
				q(`max by (consumer) (esimflow_intake_pending_messages)`, "{{consumer}} pending"),
				q(`max by (consumer) (esimflow_intake_ack_pending_messages)`, "{{consumer}} in hand"),
				q(`max by (consumer) (esimflow_intake_redelivered_messages)`, "{{consumer}} again"),
			}},
			{title: "Intake commit", about: "From receiving a batch to its commit: 95 in 100 batches within this.", kind: "timeseries", unit: "s", width: 8, targets: []target{
				q(quantile("0.95", "esimflow_intake_commit_seconds", "", "kind"), "{{kind}}"),
			}},
			{title: "Outbox", about: "Messages that wait to be published.", kind: "timeseries", unit: "none", width: 8, targets: []target{q(`max(esimflow_outbox_pending_messages)`, "pending")}},
			{title: "Oldest in the outbox", about: "Its age.", kind: "timeseries", unit: "s", width: 8, targets: []target{q(`max(esimflow_outbox_oldest_age_seconds)`, "oldest")}},
			{title: "Published", about: "What JetStream answered, a second. Errors are tried again.", kind: "timeseries", unit: "ops", width: 8, targets: []target{
				q(`sum by (result) (rate(esimflow_outbox_published_total[$__rate_interval]))`, "{{result}}"),
			}},
		}},
		{"Dead letters", []panel{
			{title: "Arrivals by code", about: "Dead letters opened.", kind: "timeseries", unit: "none", width: 8, noData: true, targets: []target{
				q(`sum by (code) (increase(esimflow_dead_letters_total[$__rate_interval])) > 0`, "{{code}}"),
			}},
			{title: "Open by code", about: "What waits for an operator: esimctl dlq list.", kind: "timeseries", unit: "none", width: 8, stacked: true, noData: true, targets: []target{
				q(`max by (code) (esimflow_dead_letters) > 0`, "{{code}}"),
			}},
			{title: "Oldest open", about: "How long the oldest has waited, by code.", kind: "timeseries", unit: "s", width: 8, noData: true, targets: []target{
				q(`max by (code) (esimflow_dead_letter_oldest_age_seconds) > 0`, "{{code}}"),
			}},
			{title: "What operators did", about: "Dead letters replayed, adopted, confirmed absent, discarded.", kind: "timeseries", unit: "none", width: 8, targets: []target{
				q(`sum by (event) (increase(esimflow_saga_transitions_total{from="dead_lettered"}[$__rate_interval]))`, "{{event}}"),
			}},
			{title: "Audit findings open", about: "PressOne's books against ours: bought and no saga, bought twice, not bought.", kind: "timeseries", unit: "none", width: 8, steps: bad(1), targets: []target{
				q(`max by (finding) (esimflow_audit_findings)`, "{{finding}}"),
			}},
			{title: "Last complete audit", about: "How long ago it ended. Empty: there was none yet.", kind: "timeseries", unit: "s", width: 8, noData: true, targets: []target{
				q(`time() - max(esimflow_audit_last_complete_timestamp_seconds > 0)`, "ago"),
			}},
		}},
		{"Workers", []panel{
			{title: "In flight", about: "Sagas that each worker drives, of MAX_IN_FLIGHT.", kind: "timeseries", unit: "none", width: 6, targets: []target{
				q(`esimflow_in_flight`, "{{instance}}"), q(`max(esimflow_in_flight_limit)`, "limit"),
			}},
			{title: "Due and not taken up", about: "How many sagas are due and held by nobody. While a lane of the gate is closed they are meant to wait.", kind: "timeseries", unit: "none", width: 6, targets: []target{
				q(`max(esimflow_saga_due)`, "sagas"),
			}},
			{title: "Due for how long", about: "How long the first of the sagas that are due and held by nobody has been so.", kind: "timeseries", unit: "s", width: 6, targets: []target{
				q(`max(esimflow_saga_due_oldest_age_seconds)`, "oldest"),
			}},
			{title: "Conflicts", about: "Writes that changed nothing because somebody else was faster, and leases lost: fencing at work.", kind: "timeseries", unit: "ops", width: 6, targets: []target{
				q(`sum by (reason) (rate(esimflow_saga_conflicts_total[$__rate_interval]))`, "{{reason}}"),
			}},
			{title: "Shared in a commit", about: "How many decisions, or requests, a commit holds on average.", kind: "timeseries", unit: "none", width: 8, targets: []target{
				q(`sum by (what) (rate(esimflow_commit_batch_size_sum[$__rate_interval])) / sum by (what) (rate(esimflow_commit_batch_size_count[$__rate_interval])) or `+
					`sum by (what) (histogram_sum(rate(esimflow_commit_batch_size[$__rate_interval]))) / sum by (what) (histogram_count(rate(esimflow_commit_batch_size[$__rate_interval])))`, "{{what}}"),
			}},
			{title: "Commits", about: "95 in 100 commits take less.", kind: "timeseries", unit: "s", width: 8, targets: []target{
				q(quantile("0.95", "esimflow_commit_seconds", "", "what"), "{{what}}"),
			}},
			{title: "Connections to Postgres", about: "In use, by process and pool, and how many there may be.", kind: "timeseries", unit: "none", width: 8, targets: []target{
				q(`esimflow_postgres_connections{state="acquired"}`, "{{instance}} {{pool}}"), q(`max by (pool) (esimflow_postgres_connections_limit)`, "{{pool}} limit"),
			}},
			{title: "Waiting for a connection", about: "Seconds a second that are spent waiting because no connection is free.", kind: "timeseries", unit: "s", width: 8, targets: []target{
				q(`sum by (instance, pool) (rate(esimflow_postgres_acquire_wait_seconds_total[$__rate_interval]))`, "{{instance}} {{pool}}"),
			}},
			{title: "Processor", about: "Cores in use, by process.", kind: "timeseries", unit: "none", width: 8, targets: []target{
				q(`rate(process_cpu_seconds_total[$__rate_interval]) * on (job, instance) group_left (program) esimflow_build_info`, "{{program}} {{instance}}"),
			}},
			{title: "Memory", about: "Resident, by process.", kind: "timeseries", unit: "bytes", width: 8, targets: []target{
				q(`process_resident_memory_bytes * on (job, instance) group_left (program) esimflow_build_info`, "{{program}} {{instance}}"),
			}},
			{title: "Age of these figures", about: "How long ago what is shared was read, by part; of the process that is furthest behind.", kind: "timeseries", unit: "s", width: 8, steps: bad(300), targets: []target{
				q(`max by (part) (esimflow_collector_age_seconds)`, "{{part}}"),
			}},
			{title: "Retention", about: "What leaves after RETENTION, a second.", kind: "timeseries", unit: "ops", width: 8, targets: []target{
				q(`sum by (what) (rate(esimflow_retention_removed_total[$__rate_interval]))`, "{{what}}"),
			}},
			{title: "Versions", about: "What runs, and the schema.", kind: "timeseries", unit: "none", width: 8, targets: []target{
				q(`count by (program, version) (esimflow_build_info)`, "{{program}} {{version}}"), q(`max(esimflow_schema_version)`, "schema"),
			}},
			{title: "Unrecognized sagas", about: "Sagas in states that a newer version has written. They are left alone.", kind: "timeseries", unit: "none", width: 8, steps: bad(1), targets: []target{
				q(`max(esimflow_saga_unrecognized_sagas)`, "sagas"),
			}},
			{title: "Denied by NATS", about: "What the programs' users may not publish or subscribe to. Anything above zero is a permission that is missing.", kind: "timeseries", unit: "none", width: 8, steps: bad(1), targets: []target{
				q(`sum by (operation) (increase(esimflow_nats_permission_denied_total[$__rate_interval]))`, "{{operation}}"),
			}},
			{title: "Not decrypted", about: "Purchases and kept answers whose key is not in ENCRYPTION_KEY, or that were altered.", kind: "timeseries", unit: "none", width: 8, steps: bad(1), targets: []target{
				q(`sum(increase(esimflow_saga_unopened_total[$__rate_interval]))`, "purchases and answers"),
			}},
		}},
	}
}

// goodWhenEmpty ends the description of panels that are empty on a good day.
const goodWhenEmpty = "Empty is good."

func (p panel) description() string {
	if p.noData && !strings.HasSuffix(p.about, goodWhenEmpty) {
		return p.about + " " + goodWhenEmpty
	}
	return p.about
}
