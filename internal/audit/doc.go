// Package audit compares PressOne's books with ours. It reads PressOne's list of orders
// over some days and pairs every order with one saga. What cannot be paired is a finding:
//
//	orphan   bought, and no saga owns it
//	double   bought, and its saga owns another order
//	phantom  a saga owns it, and PressOne does not know it, or says that it failed
//
// # How it goes about it
//
// A run is a row with a cursor, a day at a time: whoever takes it up goes on where it was
// interrupted. One worker runs it, by a lease; that nothing breaks if two do, because one
// stalled, rests on the cursor, which moves by compare-and-set in the commit that counts
// the day, and on findings being unique. It has one request to PressOne under way at a
// time, on the read lane: it waits for its turn at the rate limit as everything that
// reads does, and while the lane is closed.
//
// Orders are read before sagas, so that an order whose saga is on its way to owning it is
// seen with a saga that is being submitted or looked up, which is no finding. So there is
// no grace period to wait for.
//
// # What it does about findings
//
// An order with the whole reference of a saga that owns none, and that has stopped or
// waits to be submitted again, is adopted by it: the one thing that needs no judgement.
// Everything else is recorded with what to do about it, and stays open until a saga owns
// the order, PressOne shows it, it was refunded, or an operator dismisses it.
//
// # What never happens
//
//   - The audit submits nothing, and never concludes that something was not bought.
//   - An order that could belong to two sagas is not adopted.
//   - No activation code is stored: of an order's eSIMs only ICCIDs are looked at.
package audit
