/*
 * What is not ours: PressOne, crashes, and time. Part of saga.pml.
 */

/* --------------------------------------------------------------------------------------- PressOne */

/* A connection is closed; whatever was received may have its effect all the same. */
inline hang_up(w, s) {
	for (i : 0 .. SAGAS - 1) {
		if
		:: post[i].conn == w + 1 && post[i].by == s + 1 -> post[i].conn = 0
		:: else
		fi
	}
}

#define CALLER(o) D(post[o].conn - 1, post[o].by - 1)

/* An answer, to whoever waits for it: pressone/classify.go classify. */
inline answer(o, what) {
	CALLER(o).event = what; CALLER(o).at = outcome;
	i = post[o].conn - 1; n = post[o].by - 1; forget(i, n);
	post[o].conn = 0
}

inline nothing_happened(o) { post[o].at = none; post[o].by = 0; post[o].left = 0 }

/* It was answered: LIST_LAG counts from now. */
inline soon(o) {
	if
	:: post[o].at == bought && post[o].left > LIST_LAG + OVERDUE -> post[o].left = LIST_LAG + OVERDUE
	:: else
	fi
}

/*
 * PressOne may do as it likes with what it has received, within the two bounds that the
 * promise names: an order is listed SETTLE_DELAY after the request was received, and
 * LIST_LAG after it was answered. See World for what happens when a bound is reached.
 */
proctype PressOne(byte o) {
end:	do
	/* It takes effect, late perhaps; it is listed, later perhaps. */
	:: d_step { post[o].at == flying -> post[o].at = bought }
	:: d_step { post[o].at == bought -> post[o].at = listed; post[o].left = 0 }
	/* It comes to nothing, and nobody is told. */
	:: d_step { post[o].at == flying && post[o].conn == 0 -> nothing_happened(o) }

	/* 422 code 33 and the like; 422 code 13; 429: no effect. */
#ifndef TOPUPS
	:: d_step { post[o].at == flying && post[o].conn > 0 -> answer(o, refused); nothing_happened(o) }
	:: d_step { post[o].at == flying && post[o].conn > 0 -> answer(o, not_applied); nothing_happened(o) }
#endif
	:: d_step { TROUBLE && post[o].at == flying && post[o].conn > 0 -> answer(o, free); nothing_happened(o) }
#ifndef TOPUPS
	/* 503 code 4033: it is over, and nobody says how it went. */
	:: d_step { post[o].at == flying && post[o].conn > 0 -> answer(o, ended); nothing_happened(o) }
	:: d_step { (post[o].at == bought || post[o].at == listed) && post[o].conn > 0 -> soon(o); answer(o, ended) }
#endif
	/* 200 */
	:: d_step { (post[o].at == bought || post[o].at == listed) && post[o].conn > 0 ->
		soon(o); CALLER(o).order = o + 1; answer(o, submitted) }
	od
}

/* A bound is reached: what is not listed by now has to be, or come to nothing. */
#define UNSETTLED(o) ((post[o].at == flying || post[o].at == bought) && post[o].left == 1)
#if SAGAS == 1
#define MAY_PASS (!UNSETTLED(0))
#else
#define MAY_PASS (!UNSETTLED(0) && !UNSETTLED(1))
#endif

/* ------------------------------------------------------------------------------------------- time */

#define DOWN(x) x = (x > 0 -> x - 1 : 0)
#define OLDER(x) x = (x == UNBORN || x == LONG_AGO -> x : x + 1)

/* Whose saga was taken over, and who may not write any more, has nothing left to do. */
inline out_of_time(w, s) {
	if
	:: D(w, s).at == has_intent && !D(w, s).fresh && !(GUARD(w, s)) -> idle(w, s)
	:: else
	fi
}

inline tick() {
	for (i : 0 .. SAGAS - 1) {
		DOWN(row[i].due); DOWN(row[i].settled);
		DOWN(post[i].left);
		DOWN(D(0, i).deadline); DOWN(D(1, i).deadline)
	}
	DOWN(worker[0].lease); DOWN(worker[0].runs);
	DOWN(worker[1].lease); DOWN(worker[1].runs);
#if STEP > 0
	DOWN(row[0].until[0]); DOWN(row[0].until[1]);
	OLDER(worker[0].steady); OLDER(worker[1].steady);
#endif
	for (n : 0 .. SAGAS - 1) { out_of_time(0, n); out_of_time(1, n) }
	n = 0
}

#define BACK(x) x = (x > STEP -> x - STEP : 0)

/*
 * Postgres's clock steps forward: another machine has taken over. What is written in its
 * rows is nearer by that much; what a worker knows by its own clock is as far as before.
 */
inline postgres_steps() {
	for (i : 0 .. SAGAS - 1) { BACK(row[i].due); BACK(row[i].settled) }
	for (i : 0 .. 1) {
		BACK(worker[i].lease);
#if STEP > 0
		if
		:: worker[i].steady != UNBORN -> worker[i].behind++; worker[i].steady = (worker[i].steady + STEP >= LONG_AGO -> LONG_AGO : worker[i].steady + STEP)
		:: else
		fi
#endif
	}
	steps++
}

/* A worker dies at once and loses what it knows. What took its place is as good as new. */
inline crash(w) {
	for (n : 0 .. SAGAS - 1) { hang_up(w, n); idle(w, n) }
	orphan(w);
#if STEP > 0
	for (i : 0 .. SAGAS - 1) { row[i].until[w] = 0; row[i].vouched[w] = false; row[i].known[w] = false }
	worker[w].steady = UNBORN;
#endif
	worker[w].lease = 0; worker[w].runs = 0; worker[w].behind = 0
}

proctype World() {
end:	do
	:: d_step { TROUBLE && MAY_PASS -> tick() }
	:: d_step { TROUBLE && worker[0].lease + worker[0].runs > 0 -> crash(0) }
	:: d_step { TROUBLE && worker[1].lease + worker[1].runs > 0 -> crash(1) }
#if STEP > 0
	:: d_step { TROUBLE && steps < STEPS -> postgres_steps() }
#endif
#ifdef LIVE
	:: d_step { !calm -> calm = true }
	/* nothing is put off any more: time passes when there is nothing left to do */
	:: atomic { calm && timeout && !(ENDED) -> tick() }
#endif
	od
}
