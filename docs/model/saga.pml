/*
 * A model of the promise: no order is submitted twice without recorded evidence, every
 * request reaches an end or an operator, and no order is adopted twice.
 *
 *	saga.pml   what is ours: the row in Postgres, the workers, the operators' desk
 *	world.pml  what is not: PressOne, crashes, clocks, time
 *	check      runs every configuration, and says whether it came out as it should
 *	README.md  what is modelled, what is left out and why that may be, and what came of it
 *
 * How to read it. All there is stands in the variables below. A process is a loop over
 * guarded steps; a step is atomic, and a comment names the function that it stands for. A
 * step that is possible need not be taken: a worker that is paused, slow, or in front of
 * a Postgres that is away is one that takes no step for a while, whatever it was doing.
 *
 * Macros make the variants, most of which break one rule. `check` lists them.
 */

/* ----------------------------------------------------------------------------- bounds, in ticks */

/* The defaults of docs/config.md, if a tick is five seconds. */
#ifndef LIST_LAG
#define LIST_LAG 1
#endif
#ifndef LEASE_TTL
#define LEASE_TTL 3
#endif
#ifndef SETTLE_DELAY
#define SETTLE_DELAY 6
#endif
#ifndef SUBMIT_TIMEOUT
#define SUBMIT_TIMEOUT 12
#endif
#ifndef ABSENCE_LOOKS
#define ABSENCE_LOOKS 2
#endif
#ifndef RETRY_MAX_ATTEMPTS
#define RETRY_MAX_ATTEMPTS 2
#endif
#ifndef OVERDUE
#define OVERDUE 0 /* how much later than it promised PressOne lists an order */
#endif
#ifndef STEP
#define STEP 0 /* by how much Postgres's clock steps forward */
#endif
#ifndef STEPS
#define STEPS 1 /* how often */
#endif

#ifdef LOOK_EARLY /* variant: no look-up waits for what was sent to settle */
#define WAIT_ENDED 0
#define WAIT_SETTLED 0
#define WAIT_LOST 0
#else
#define WAIT_ENDED LIST_LAG
#define WAIT_SETTLED SETTLE_DELAY
#define WAIT_LOST (SUBMIT_TIMEOUT + SETTLE_DELAY)
#endif

#if defined(ONE_ESIM) || defined(TWO_ESIMS)
#define TOPUPS /* two top-ups of one package; PressOne has replaced their descriptions */
#define SAGAS 2
#else
#define SAGAS 1 /* an order, found by its reference */
#endif

/* ---------------------------------------------------------------------------- what Postgres has */

/* saga/state.go States. Notifying is left out, discarded is a dead one that nobody touches again. */
#define none 0
mtype = { pending, submitting, unknown, polling, completed, dead };

/*
 * The row, as in migrations/0001_create_saga.sql. Times are countdowns by Postgres's clock: 0
 * is "now or earlier". A version is only ever compared with the one that was read, and never
 * comes back; so it is not a number here, but a bit of whoever has read it: see Drive.fresh.
 */
typedef Row {
	mtype state;
	mtype stopped; /* while dead: the state that it was in */
	byte owner;    /* worker: 0 nobody, 1+w worker w under its present lease, GONE a lease that has run out */
	byte due;      /* due_at: until it may be claimed */
	byte settled;  /* until intent_deadline + SETTLE_DELAY */
	byte tries;
	byte looks;
	bool slow;     /* look_delay is SETTLE_DELAY and not LIST_LAG */
	byte order;    /* order_id: 1 + its place among the posts */
#if STEP > 0
	byte until[2];   /* while unknown: until due_at by that worker's own idea of Postgres's time */
	bool vouched[2]; /* while unknown: the last look_delay before due_at lies after its `steady` */
	bool known[2];   /* while submitting: so does intent_at */
#endif
};
Row row[SAGAS];

#define GONE 3
#define FINAL(s) (row[s].state == completed || row[s].state == dead)

/* -------------------------------------------------------------------------- what a worker knows */

/* saga/lease.go Lease: its row in Postgres, and its own idea of it. */
typedef Worker {
	byte lease;  /* by Postgres's clock: until expires_at; 0: it has run out */
	byte runs;   /* by its own monotonic clock: until it takes it for run out */
	byte behind; /* how many steps of Postgres's clock it has not heard of */
#if STEP > 0
	byte steady; /* how long ago, by Postgres's clock, it began to see that run like its own */
#endif
};
Worker worker[2];

/* How far a worker is with a saga: saga/runner.go Runner.drive, Runner.perform. */
mtype = {
	has_pending,                   /* it holds it, and nothing was begun */
	has_intent,                    /* the intent is committed, nothing is written */
	may_write,                     /* the guard has agreed (variant SPLIT_WRITE) */
	waiting,                       /* written; no answer yet */
	outcome,                       /* something happened, and is not committed yet */
	has_unknown, has_list, has_owned, looked, /* before, during and after a look-up */
	has_polling,
	has_lost                       /* it has found that its worker's lease has run out */
};

/* What has happened: saga/state.go EventName. */
mtype = {
	submitted, refused, not_applied,
	free,       /* not_applied, and no try is counted: never sent, or a 429 */
	ended,      /* outcome_unknown, in PressOne's own words: the request is over */
	lost,       /* outcome_unknown: no answer, or somebody else's */
	found, absent, unclear, ambiguous,
	unwaited /* not_found, and it does not count */
};

/* One goroutine's copy of a saga: saga/saga.go Saga. */
typedef Drive {
	mtype at;      /* none: it is not at work on that saga */
	mtype event;
	bool fresh;    /* the row still has the version that it knows */
	bool mine;     /* the saga is held under its present lease */
	bool same;     /* no later submission was begun */
	byte deadline; /* intent_deadline, by its own clock */
	byte seen;     /* the orders that it has read of, a bit each */
	byte order;    /* the order that was found or answered: 1 + its place */
};
Drive drive[2 * SAGAS];

#define D(w, s) drive[(w) * SAGAS + (s)]
#define OTHER(s) (SAGAS - 1 - (s))

/* ----------------------------------------------------------------------------- what PressOne has */

mtype = { flying, bought, listed };

/* A POST that has had an effect, or may still have one. */
typedef Post {
	mtype at;  /* none: the place is free */
	byte by;   /* whose it is: 1 + the saga. Nobody knows but PressOne and this model */
	byte left; /* until it is listed at the latest */
	byte conn; /* 1 + the worker that waits for its answer; 0: the connection is gone */
};
Post post[SAGAS];

hidden byte i, n, it; /* within a step; no part of what is remembered */

bool calm;    /* nothing goes wrong any more (variant LIVE) */
byte steps;   /* of Postgres's clock so far */

/* The places are enough, for the first property says so. */
#if SAGAS == 1
#define LIVING (post[0].at != none)
#define LIVING_OF(s) LIVING
#define PLACE 0
#else
#define LIVING ((post[0].at != none) + (post[1].at != none))
#define LIVING_OF(s) (post[0].by == (s) + 1 || post[1].by == (s) + 1)
#define PLACE (post[0].at == none -> 0 : 1)
#endif

/* ---------------------------------------------------------------------------------- constraints */

/* migrations/0001_create_saga.sql saga_topup_in_flight: one top-up of an eSIM at a time. */
#if defined(ONE_ESIM) && !defined(TWO_IN_FLIGHT)
#define BUSY(s) (row[OTHER(s)].state == submitting || row[OTHER(s)].state == unknown)
#else
#define BUSY(s) false
#endif

/* migrations/0001_create_saga.sql saga_order: no order belongs to two sagas. */
#ifdef TOPUPS
#define OWNED(s, o) (row[OTHER(s)].order == (o))
#else
#define OWNED(s, o) false
#endif
#ifdef NO_UNIQUE_ORDER
#define TAKEN(s, o) false
#else
#define TAKEN(s, o) OWNED(s, o)
#endif

/* --------------------------------------------------------------------------------------- clocks */

/* saga/decide.go Policy.move: how long the next look-up waits. */
#define LOOK_DELAY(s) (row[s].slow -> WAIT_SETTLED : WAIT_ENDED)

/*
 * A due time is reckoned by the worker's idea of Postgres's time, saga/lease.go Lease.Now, and
 * compared by Postgres with its own. Who has missed a step names one that comes sooner.
 */
#if STEP > 0
#define OFF(w) (STEP * worker[w].behind)
#define RECKONED(w, d) ((d) > OFF(w) -> (d) - OFF(w) : 0)

#define UNBORN 255 /* it has seen nothing of Postgres's clock yet */
/* So long ago that every wait is taken to have begun later; which is sooner than in the code, so that more looks count. */
#if STEP > 20
#define LONG_AGO (LEASE_TTL + 1)
#else
#define LONG_AGO (STEP * STEPS)
#endif
#define FURTHEST (LEASE_TTL + SUBMIT_TIMEOUT + SETTLE_DELAY) /* further into the future is all the same */

#define EARLY(w, s) (row[s].until[w] > 0)
#define WITHIN(x) ((x) <= 0 -> 0 : ((x) > FURTHEST -> FURTHEST : (x)))
#define SINCE(w, x) (worker[w].steady != UNBORN && (worker[w].steady == LONG_AGO || worker[w].steady >= (x)))

/* saga/lease.go Lease.Vouches, for the waits of the row, as soon as they are known: due_at is d from now, by a clock that is `off` behind. */
inline put_off(s, d, off) {
	row[s].due = ((d) > (off) -> (d) - (off) : 0);
	row[s].until[0] = WITHIN((d) - (off) + OFF(0)); row[s].vouched[0] = SINCE(0, LOOK_DELAY(s) - (d) + (off));
	row[s].until[1] = WITHIN((d) - (off) + OFF(1)); row[s].vouched[1] = SINCE(1, LOOK_DELAY(s) - (d) + (off))
}
/* A back-off of nothing. Whoever has seen the wait before has seen enough; who has not may as well look once in vain. */
inline again(w, s, d) {
	if
	:: EARLY(w, s) -> put_off(s, d, OFF(w))
	:: else -> row[s].due = RECKONED(w, d); row[s].until[0] = WITHIN(OFF(0) - OFF(w)); row[s].until[1] = WITHIN(OFF(1) - OFF(w))
	fi
}
inline forget_wait(s) {
	row[s].until[0] = 0; row[s].vouched[0] = false; row[s].known[0] = false;
	row[s].until[1] = 0; row[s].vouched[1] = false; row[s].known[1] = false
}
inline note_intent(w, s) { forget_wait(s); row[s].known[0] = SINCE(0, OFF(w)); row[s].known[1] = SINCE(1, OFF(w)) }

/* saga/lease.go Lease.write: a step is heard of; or it is the first renewal. Before a step that one knows no less than others, see `unwaited`. */
inline hear(w) {
	if
	:: worker[w].behind > 0 || worker[w].steady == UNBORN ->
		for (i : 0 .. SAGAS - 1) {
			D(w, i).deadline = (D(w, i).deadline > OFF(w) -> D(w, i).deadline - OFF(w) : 0);
			row[i].until[w] = (row[i].state == unknown -> row[i].due : 0);
			row[i].vouched[w] = (row[i].state == unknown && (steps == 0 || row[i].due >= LOOK_DELAY(i)));
			row[i].known[w] = (row[i].state == submitting && steps == 0)
		}
		worker[w].behind = 0; worker[w].steady = (steps == 0 -> LONG_AGO : 0)
	:: else
	fi
}

#ifdef COUNT_ALL /* variant: looks count although the clock stepped */
#define COUNTS(w, s) true
#define MUST_RENEW(w, s) false
#else
#define COUNTS(w, s) (row[s].vouched[w] && !EARLY(w, s))
#define MUST_RENEW(w, s) EARLY(w, s)
#endif
#define OFFSET(w) OFF(w)
#else
#define RECKONED(w, d) (d)
#define OFFSET(w) 0
inline put_off(s, d, off) { row[s].due = d }
inline again(w, s, d) { row[s].due = d }
inline forget_wait(s) { skip }
inline note_intent(w, s) { skip }
inline hear(w) { skip }
#define COUNTS(w, s) true
#define MUST_RENEW(w, s) false
#endif

/* ------------------------------------------------------------------------------------ properties */

/*
 * "An order is submitted to PressOne at most once, unless there is recorded evidence that the
 * earlier submission did not happen", and the evidence is true: when a POST is written, every
 * earlier one of its saga has come to nothing, for good.
 *
 * Two top-ups of one package for one eSIM are worth the same, whichever of the two sagas
 * has which; there it is counted for both together.
 */
inline write_post(w, s) {
#ifdef ONE_ESIM
	assert(LIVING < SAGAS); /* bought once */
#else
	assert(!LIVING_OF(s)); /* bought once */
#endif
	i = PLACE;
	post[i].at = flying; post[i].by = s + 1; post[i].conn = w + 1;
	post[i].left = SETTLE_DELAY + OVERDUE;
	D(w, s).at = waiting; D(w, s).deadline = 0
}

/* "No order adopted twice." */
inline take(s, o) {
	assert(!OWNED(s, o)); /* adopted once */
	row[s].order = o; row[s].due = 0; row[s].settled = 0; forget_wait(s);
#ifdef TOPUPS
	row[s].state = completed /* what comes then costs nothing any more, and is shown with the one order */
#else
	row[s].state = polling
#endif
}

/*
 * "Nobody guesses": what a worker recognises without having been told was made by its own
 * saga's POST. Of two top-ups of one eSIM one may end up with the other's, but only if an
 * operator has given its own to the other.
 */
#ifdef ONE_ESIM
#define MAY_BE(s, o) (post[(o) - 1].by == (s) + 1 || row[OTHER(s)].order > 0 && post[row[OTHER(s)].order - 1].by == (s) + 1)
#else
#define MAY_BE(s, o) (post[(o) - 1].by == (s) + 1)
#endif
inline recognise(s, o) { assert(MAY_BE(s, o)) } /* nobody guesses */

/* "Every request reaches an end or an operator", once things go wrong no more. */
#ifdef LIVE
#define TROUBLE (!calm)
#define SOON (calm -> 1 : 0) /* a back-off may be nothing; not for ever */
#if SAGAS == 1
#define ENDED FINAL(0)
#else
#define ENDED (FINAL(0) && FINAL(1))
#endif
ltl ends { [] (calm -> <> ENDED) }
#else
#define TROUBLE true
#define SOON 0
#endif

/* ------------------------------------------------------------------------------- writing the row */

inline idle(w, s) {
	D(w, s).at = none; D(w, s).event = none; D(w, s).fresh = false; D(w, s).mine = false;
	D(w, s).same = false; D(w, s).deadline = 0; D(w, s).seen = 0; D(w, s).order = 0
}

/*
 * Of what a stale copy leads to, two things have an effect: a POST, and an answer to one that
 * is the order. A goroutine that is up to anything else is let go at once.
 */
inline forget(w, s) {
	if
	:: D(w, s).fresh || D(w, s).at == has_intent || D(w, s).at == may_write || D(w, s).at == waiting ||
		D(w, s).at == outcome && D(w, s).event == submitted && D(w, s).same
	:: else -> idle(w, s)
	fi
}

inline outdate(w, s) {
	D(w, s).fresh = false;
	forget(w, s)
}

/*
 * saga/write.go writeSQL: a write names the owner and version that it expects, so that it
 * is made by whoever is `fresh`, and every other copy is stale afterwards; that others
 * share its commit changes nothing about it (saga/share.go sharing). A
 * COMMIT whose answer is lost is tried again, and recognised by its row of history
 * (saga/store.go Store.Applied): to its writer it is a COMMIT that took longer. Not so with
 * claims and intents: see below.
 */
inline wrote(s) { outdate(0, s); outdate(1, s) }

/* Written and given back, for whoever is free when it is due. */
inline given(w, s) { wrote(s); row[s].owner = 0; idle(w, s) }

/* Written and kept, for it is due at once. */
inline kept(w, s, where) {
	it = D(w, s).mine;
	wrote(s); idle(w, s);
	D(w, s).at = where; D(w, s).fresh = true; D(w, s).mine = it
}

inline stop(s, where) {
	row[s].state = dead; row[s].stopped = where; row[s].owner = 0; row[s].due = 0; row[s].tries = 0;
	row[s].looks = 0; row[s].slow = false; forget_wait(s);
	if
	:: where != unknown -> row[s].settled = 0
	:: else
	fi;
	wrote(s)
}

/* What has come to nothing for good leaves nothing behind but the number of tries. */
inline unsubmitted(s) {
	row[s].state = pending; row[s].due = 0; row[s].settled = 0; row[s].looks = 0; row[s].slow = false; forget_wait(s)
}

/* -------------------------------------------------------------------------------------- the lease */

/* saga/lease.go Lease.Runs */
#define RUNS(w) (worker[w].runs > 0)

/*
 * saga/lease.go Lease.guard, asked by pressone/send.go sending.write at the very write. Both
 * countdowns begin a tick higher than Postgres's, so that the model may still write in the
 * instant in which the code may no longer: "now <= deadline" instead of "now < deadline".
 */
#if defined(NO_FENCE)
#define GUARD(w, s) true
#elif defined(DEADLINE_ALONE)
#define GUARD(w, s) (D(w, s).deadline > 0)
#elif defined(LEASE_ALONE)
#define GUARD(w, s) (RUNS(w) && D(w, s).mine)
#else
#define GUARD(w, s) (RUNS(w) && D(w, s).mine && D(w, s).deadline > 0)
#endif

/* Whatever w held is held under a lease that has run out. */
inline orphan(w) {
	for (i : 0 .. SAGAS - 1) {
		D(w, i).mine = false;
		if
		:: row[i].owner == w + 1 -> row[i].owner = GONE
		:: else
		fi
	}
}

/* saga/lease.go Lease.Renew, renewSQL, registerSQL: a lease that has run out is not revived, there is a new one. */
inline renew(w) {
	if
	:: worker[w].lease == 0 -> orphan(w)
	:: else
	fi;
	worker[w].lease = LEASE_TTL; worker[w].runs = LEASE_TTL + 1; hear(w)
}

/* saga/sweep.go Runner.every, Runner.beat */
proctype Heart(byte w) {
end:	do
	:: d_step { worker[w].lease == 0 || worker[w].runs < LEASE_TTL + 1 || worker[w].behind > 0 -> renew(w) }
	od
}

/* saga/claim.go abandonedSQL. That w itself is not at work on it: saga/held.go held.has. */
#define ABANDONED(s) (row[s].owner == GONE || row[s].owner > 0 && row[s].owner < GONE && worker[row[s].owner - 1].lease == 0)

/*
 * saga/sweep.go Runner.abandon: nobody drives it, so it can be claimed again. If it was being
 * submitted it becomes unknown (saga/decide.go Policy.move: WorkerLost), due when everything
 * that its worker may have sent has settled: saga/sweep.go Runner.lost.
 */
inline abandon(w, s) {
	if
	:: row[s].state == submitting ->
		row[s].state = unknown; row[s].looks = 0; row[s].slow = true;
#if defined(LOOK_EARLY)
		row[s].due = 0
#elif STEP > 0 && !defined(BY_DEADLINE) /* variant: by the intent's deadline alone */
		it = row[s].settled;
		if
		:: !row[s].known[w] && it < RECKONED(w, LEASE_TTL + SETTLE_DELAY) -> it = RECKONED(w, LEASE_TTL + SETTLE_DELAY)
		:: else
		fi;
		forget_wait(s); put_off(s, it, 0)
#else
		forget_wait(s); put_off(s, row[s].settled, 0)
#endif
	:: else
	fi;
	row[s].owner = 0;
	wrote(s)
}

#include "world.pml"

/* -------------------------------------------------------------------------- a worker, on one saga */

/* Whether the saga may be claimed: saga/claim.go claimSQL. */
#define CLAIMABLE(w, s) (D(w, s).at == none && RUNS(w) && worker[w].lease > 0 && row[s].owner == 0 && row[s].due == 0 && \
	(row[s].state == pending || row[s].state == unknown || row[s].state == polling))

/* Elsewhere than in calm water any number of tries is worse than some number. */
#ifdef LIVE
#define MORE_TRIES(s) (row[s].tries < RETRY_MAX_ATTEMPTS)
#else
#define MORE_TRIES(s) true
#endif

/* The intent: saga/decide.go Policy.move: SubmitStarted. */
inline intend(w, s) {
	row[s].state = submitting; row[s].due = 0; row[s].looks = 0; row[s].settled = RECKONED(w, WAIT_LOST); note_intent(w, s);
#ifdef LIVE
	row[s].tries++;
#endif
	D(0, s).same = false; D(1, s).same = false
}

/* What a worker sees on a list: complete, or not believed. */
#if SAGAS == 1
#define LIST (post[0].at == listed)
#else
#define LIST ((post[0].at == listed) + 2 * (post[1].at == listed))
#endif

/* Other top-ups whose order could be nameless too: saga/load.go Store.Rivals. */
#define IN_FLIGHT(s) (row[OTHER(s)].state == submitting)
#define UNRESOLVED(s) (row[OTHER(s)].state == unknown || row[OTHER(s)].state == dead && row[OTHER(s)].stopped == unknown)

/* Which of the orders that it has seen is its own. */
inline match(w, s) {
	D(w, s).at = looked; D(w, s).event = absent;
	n = (D(w, s).seen & 1) + (D(w, s).seen >> 1);
	D(w, s).order = (n == 1 -> D(w, s).seen : 0);
	D(w, s).seen = 0;
	if
	:: n == 0
	:: n > 0 ->
#if defined(TWO_ESIMS) && !defined(NO_RIVALS)
		/* saga/match.go matchTopup, where no order names its eSIM */
		if
		:: n == 1 && !IN_FLIGHT(s) && !UNRESOLVED(s) -> D(w, s).event = found
		:: else -> D(w, s).event = (IN_FLIGHT(s) -> unclear : ambiguous); D(w, s).order = 0
		fi
#elif defined(ONE_ESIM) && !defined(NO_SAME)
		/* saga/match.go matchTopup, where orders name their eSIM, and another top-up of it is unresolved */
		D(w, s).event = (n == 1 && !IN_FLIGHT(s) && !UNRESOLVED(s) -> found : ambiguous)
#else
		/* saga/match.go matchReference */
		D(w, s).event = (n == 1 -> found : ambiguous)
#endif
	fi
}

/* saga/lookup.go Runner.waited: it was claimed before its time, as far as w knows. */
#ifdef GATE_FIRST /* variant: a look-up may fail, or be put off, before that is asked */
#define NOT_YET(w, s) false
#else
#define NOT_YET(w, s) MUST_RENEW(w, s)
#endif

proctype Goroutine(byte w, s) {
end:	do

	/* ---- claiming ---- */

	/* saga/runner.go Runner.claim, saga/claim.go Store.Claim */
	:: d_step { CLAIMABLE(w, s) ->
		wrote(s); row[s].owner = w + 1;
		D(w, s).fresh = true; D(w, s).mine = true;
		D(w, s).at = (row[s].state == pending -> has_pending : (row[s].state == unknown -> has_unknown : has_polling)) }
#ifndef TOPUPS
	/* its COMMIT is not reported: Postgres says that w holds it, w knows nothing of it */
	:: d_step { TROUBLE && CLAIMABLE(w, s) -> wrote(s); row[s].owner = w + 1 }
#endif
#ifndef NO_SWEEP
	/* saga/sweep.go Runner.sweep, Runner.strays: that is found out */
	:: d_step { row[s].owner == w + 1 && D(w, s).at == none -> abandon(w, s) }
#endif
#if STEP > 0 && !defined(BY_DEADLINE)
	/* saga/sweep.go Runner.takeOver: the lease is renewed once it is known what was abandoned, and before anything is done about it */
	:: d_step { ABANDONED(s) && D(w, s).at == none ->
#ifndef RENEWAL_FAILS /* variant: it goes on if that fails */
		renew(w);
#endif
		D(w, s).at = has_lost; D(w, s).fresh = true }
	:: d_step { D(w, s).at == has_lost && D(w, s).fresh -> abandon(w, s) }
#else
	/* saga/sweep.go Runner.takeOver */
	:: d_step { ABANDONED(s) && D(w, s).at == none -> abandon(w, s) }
#endif

	/* saga/runner.go Runner.drive: it is no longer ours, or has been moved by somebody else */
	:: d_step { (D(w, s).at == has_pending || D(w, s).at == has_unknown || D(w, s).at == has_polling) &&
		(!D(w, s).fresh || !D(w, s).mine) -> idle(w, s) }
	/* saga/runner.go Runner.release, after saga/submit.go Runner.queue: another top-up of its eSIM is in flight */
	:: d_step { D(w, s).at == has_pending && D(w, s).fresh && BUSY(s) -> row[s].due = SOON; given(w, s) }

	/* ---- submitting: saga/submit.go Runner.prepare, Runner.submit ---- */

	/* saga/step.go Policy.Next: tries or time used up. When time is up is anybody's guess */
	:: d_step { D(w, s).at == has_pending && D(w, s).fresh && (TROUBLE || !MORE_TRIES(s)) ->
		stop(s, pending); idle(w, s) }
#ifdef NO_INTENT
	:: d_step { D(w, s).at == has_pending && MORE_TRIES(s) && !BUSY(s) ->
		D(w, s).deadline = SUBMIT_TIMEOUT + 1; D(w, s).same = true; D(w, s).at = has_intent }
#else
	/* saga/commit.go Runner.commit: the intent */
	:: d_step { D(w, s).at == has_pending && D(w, s).fresh && MORE_TRIES(s) && !BUSY(s) ->
		intend(w, s); kept(w, s, has_intent);
		D(w, s).same = true; D(w, s).deadline = SUBMIT_TIMEOUT + 1 }
	/* its COMMIT is not reported: nothing is sent, and the sweep finds it */
	:: d_step { TROUBLE && D(w, s).at == has_pending && D(w, s).fresh && MORE_TRIES(s) && !BUSY(s) ->
		intend(w, s); wrote(s); idle(w, s) }
#endif
	/* the guard disagrees, there is no connection, no token, or the worker is stopping: nothing was sent */
	:: d_step { D(w, s).at == has_intent && (TROUBLE || !(GUARD(w, s))) ->
		D(w, s).event = free; D(w, s).deadline = 0; D(w, s).at = outcome; forget(w, s) }
#ifdef SPLIT_WRITE
	:: d_step { D(w, s).at == has_intent && GUARD(w, s) -> D(w, s).at = may_write }
	:: d_step { D(w, s).at == may_write -> write_post(w, s) }
#else
	/* pressone/submit.go Client.submitOnce, pressone/send.go sending.write */
	:: d_step { D(w, s).at == has_intent && GUARD(w, s) -> write_post(w, s) }
#endif
	/* answers come from world.pml; or there is none, or none of PressOne's: pressone/send.go sender.do */
	:: d_step { TROUBLE && D(w, s).at == waiting -> hang_up(w, s); D(w, s).event = lost; D(w, s).at = outcome; forget(w, s) }

	/* ---- what came of it: saga/submit.go answered, saga/commit.go Runner.apply ---- */

	:: d_step { D(w, s).at == outcome && D(w, s).fresh && D(w, s).event == submitted ->
		if
		:: TAKEN(s, D(w, s).order) -> stop(s, unknown) /* saga/commit.go Runner.disown */
		:: else -> it = D(w, s).order; take(s, it)
		fi;
		given(w, s) }
	:: d_step { D(w, s).at == outcome && D(w, s).fresh && D(w, s).event == refused -> stop(s, pending); idle(w, s) }
	:: d_step { D(w, s).at == outcome && D(w, s).fresh && D(w, s).event == not_applied ->
		unsubmitted(s); row[s].due = SOON; given(w, s) }
	:: d_step { D(w, s).at == outcome && D(w, s).fresh && D(w, s).event == free ->
		unsubmitted(s); row[s].due = SOON; row[s].tries = (row[s].tries > 0 -> row[s].tries - 1 : 0); given(w, s) }
	/* a back-off of nothing: it is kept */
	:: d_step { TROUBLE && D(w, s).at == outcome && D(w, s).fresh && D(w, s).event == not_applied ->
		unsubmitted(s); kept(w, s, has_pending) }
	:: d_step { D(w, s).at == outcome && D(w, s).fresh && (D(w, s).event == lost || D(w, s).event == ended) ->
		row[s].state = unknown; row[s].looks = 0; row[s].slow = (D(w, s).event == lost);
		forget_wait(s); put_off(s, LOOK_DELAY(s), OFFSET(w)); given(w, s) }

	/*
	 * saga/commit.go Runner.contest, Runner.tell: somebody has taken it over. If PressOne's
	 * answer was the order, and the saga still waits to be looked up, or to be submitted
	 * again, it is found. Whoever holds it now will see that it was moved.
	 */
	:: d_step { D(w, s).at == outcome && !D(w, s).fresh ->
		if
		:: D(w, s).event == submitted && (row[s].state == unknown || row[s].state == pending) && D(w, s).same && !TAKEN(s, D(w, s).order) ->
			if
			:: row[s].state == pending -> row[s].owner = 0 /* saga/decide.go Policy.Decide */
			:: else
			fi;
			it = D(w, s).order; take(s, it); row[s].looks = 0; row[s].slow = false; wrote(s)
		:: else
		fi;
		idle(w, s) }

	/* ---- looking it up: saga/lookup.go Runner.lookUp ---- */

	/* the list cannot be read: look again; or, after SAGA_DEADLINE, give up: saga/step.go Policy.Unclear */
	:: d_step { TROUBLE && D(w, s).at == has_unknown && !NOT_YET(w, s) -> D(w, s).event = unclear; D(w, s).at = looked }
#if STEP > 0 && !defined(COUNT_ALL)
	/* saga/lookup.go Runner.waited: it was claimed before it was due by our own idea of the time: find out what that is */
	:: d_step { D(w, s).at == has_unknown && D(w, s).fresh && EARLY(w, s) ->
		renew(w);
		if
		:: post[0].at != listed -> D(w, s).event = unwaited; D(w, s).at = looked
		:: else -> D(w, s).seen = LIST; match(w, s)
		fi }
	:: d_step { D(w, s).at == has_unknown && D(w, s).fresh && EARLY(w, s) -> renew(w); D(w, s).event = unclear; D(w, s).at = looked }
	/* that fails: it is given back as it was */
	:: d_step { D(w, s).at == has_unknown && D(w, s).fresh && EARLY(w, s) -> given(w, s) }
#endif
#ifdef TOPUPS
	/* saga/lookup.go Runner.lookUpTopup, Runner.orders: the list, then whose they are, then who else could be meant */
	:: d_step { D(w, s).at == has_unknown -> D(w, s).seen = LIST; D(w, s).at = has_list }
	/* saga/load.go Store.Owned */
	:: d_step { D(w, s).at == has_list ->
		if
		:: row[OTHER(s)].order > 0 -> D(w, s).seen = D(w, s).seen & ~row[OTHER(s)].order
		:: else
		fi;
		D(w, s).at = has_owned }
	:: d_step { D(w, s).at == has_owned -> match(w, s) }
#else
	/* saga/lookup.go Runner.lookUpReference */
	:: d_step { D(w, s).at == has_unknown && !NOT_YET(w, s) ->
		D(w, s).seen = LIST; match(w, s);
		if
		:: D(w, s).event == absent && !COUNTS(w, s) -> D(w, s).event = unwaited
		:: else
		fi }
#endif
	/* whoever has only just begun cannot tell how long that wait was: it does not count */
	:: d_step { TROUBLE && steps == 0 && D(w, s).at == looked && D(w, s).fresh && D(w, s).event == absent -> D(w, s).event = unwaited }
	:: d_step { D(w, s).at == looked && D(w, s).fresh && D(w, s).event == unwaited ->
		put_off(s, LOOK_DELAY(s), OFFSET(w)); given(w, s) }

	:: d_step { D(w, s).at == looked && !D(w, s).fresh -> idle(w, s) }
	:: d_step { D(w, s).at == looked && D(w, s).fresh && D(w, s).event == found ->
		if
		:: TAKEN(s, D(w, s).order) -> row[s].due = SOON /* saga/commit.go Runner.disown: look again */
		:: else -> it = D(w, s).order; recognise(s, it); take(s, it); row[s].looks = 0; row[s].slow = false
		fi;
		given(w, s) }
	/* saga/step.go Policy.Absent */
	:: d_step { D(w, s).at == looked && D(w, s).fresh && D(w, s).event == absent && row[s].looks + 1 < ABSENCE_LOOKS ->
		row[s].looks++; put_off(s, LOOK_DELAY(s), OFFSET(w)); given(w, s) }
	:: d_step { D(w, s).at == looked && D(w, s).fresh && D(w, s).event == absent && row[s].looks + 1 >= ABSENCE_LOOKS ->
		unsubmitted(s); row[s].due = SOON; given(w, s) }
	:: d_step { TROUBLE && D(w, s).at == looked && D(w, s).fresh && D(w, s).event == absent && row[s].looks + 1 >= ABSENCE_LOOKS ->
		unsubmitted(s); kept(w, s, has_pending) }
	/* UNKNOWN_POLICY=hold */
	:: d_step { D(w, s).at == looked && D(w, s).fresh && D(w, s).event == absent && row[s].looks + 1 >= ABSENCE_LOOKS ->
		stop(s, unknown); idle(w, s) }
	:: d_step { D(w, s).at == looked && D(w, s).fresh && D(w, s).event == unclear -> again(w, s, SOON); given(w, s) }
	:: d_step { D(w, s).at == looked && D(w, s).fresh && (D(w, s).event == ambiguous || TROUBLE && D(w, s).event == unclear) ->
		stop(s, unknown); idle(w, s) }

	/* ---- bought: saga/poll.go Runner.poll, saga/complete.go Store.Announce ---- */

	:: d_step { D(w, s).at == has_polling && D(w, s).fresh ->
		row[s].state = completed; row[s].tries = 0; given(w, s) }
	:: d_step { TROUBLE && D(w, s).at == has_polling && D(w, s).fresh -> stop(s, polling); idle(w, s) }
	od
}

/* ---------------------------------------------------------------------------- the operators' desk */

/*
 * When an operator may say that nothing was bought: when PressOne's list shows nothing that
 * nobody owns. That is a single look; where Postgres's clock steps he has to take his time,
 * and speaks when nothing was bought, and nothing can be any more.
 */
#if (STEP > 0 || OVERDUE > 0) && !defined(GLANCE)
#define STILL_WRITES(w, s) (D(w, s).at == has_intent && GUARD(w, s))
#define NOTHING(s) (!LIVING_OF(s) && !STILL_WRITES(0, s) && !STILL_WRITES(1, s))
#elif defined(TOPUPS)
#define NOTHING(s) (!(post[0].at == listed && !OWNED(s, 1)) && !(post[1].at == listed && !OWNED(s, 2)))
#else
#define NOTHING(s) (post[0].at != listed)
#endif

/* Orders of two eSIMs are not mixed up by whoever asks PressOne: saga/match.go Saga.Unlike. */
#ifdef ONE_ESIM
#define LIKELY(s, o) (post[(o) - 1].at == listed)
#else
#define LIKELY(s, o) (post[(o) - 1].at == listed && post[(o) - 1].by == (s) + 1)
#endif

#define STOPPED(s, where) (TROUBLE && row[s].state == dead && row[s].stopped == where)

/* deadletter/desk.go Desk.act, saga/decide.go Policy.operate */
inline reopen(s, where) { row[s].state = where; row[s].stopped = none; row[s].due = 0; wrote(s) }

/* He may do anything at any time, or nothing; what he says is true, as far as he can see. */
proctype Operator(byte s) {
end:	do
	/* deadletter/desk.go Desk.Replay: to where it stopped, and never looked up before it has settled */
	:: d_step { STOPPED(s, pending) -> reopen(s, pending) }
	:: d_step { STOPPED(s, polling) -> reopen(s, polling) }
	:: d_step { STOPPED(s, unknown) && !BUSY(s) -> reopen(s, unknown); row[s].slow = true; put_off(s, row[s].settled, 0) }
	/* deadletter/desk.go Desk.ConfirmAbsent */
	:: d_step { STOPPED(s, unknown) && NOTHING(s) -> reopen(s, pending); row[s].due = row[s].settled; row[s].settled = 0 }
	/* deadletter/desk.go Desk.Adopt: of one eSIM's orders he may name any, even one that is on its way to the other saga */
	:: d_step { STOPPED(s, unknown) && LIKELY(s, 1) && !TAKEN(s, 1) -> reopen(s, unknown); take(s, 1) }
#ifdef TOPUPS
	:: d_step { STOPPED(s, unknown) && LIKELY(s, 2) && !TAKEN(s, 2) -> reopen(s, unknown); take(s, 2) }
#endif
	od
}

init {
	atomic {
		for (i : 0 .. SAGAS - 1) {
			row[i].state = pending; /* saga/decide.go Policy.move: Accepted */
			run PressOne(i);
			run Operator(i);
			run Goroutine(0, i);
			run Goroutine(1, i)
		}
#if STEP > 0
		worker[0].steady = UNBORN; worker[1].steady = UNBORN;
#endif
		run Heart(0);
		run Heart(1);
		run World()
	}
}
