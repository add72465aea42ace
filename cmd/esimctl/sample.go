package main

import (
	"fmt"
	"time"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// sample is one request of dev's traffic: what is published, what goes wrong with it, and
// how it has to end.
type sample struct {
	id      string // its request_id
	trouble string // in words, empty for a plain one
	kind    message.Kind
	body    string
	header  []string // name, value, …

	pkg    pressonesim.Package // added to the simulator if it has an ID
	fault  pressonesim.Fault   // injected for that package if it has an Action
	before func(*pressonesim.Sim)

	want   string // completed, or the code of a dead letter
	needed int    // orders that PressOne has to have sold for it
}

// Ends of samples, beside the codes of dead letters.
const wantCompleted = "completed"

// troubled are orders with something wrong, each with a package of its own, so that the
// fault meets no other.
var troubled = []struct {
	name, trouble, want string
	needed              int
	pkg                 pressonesim.Package
	fault               pressonesim.Fault
}{
	{"credit-11", "code 11, insufficient credit", "11", 0, pressonesim.Package{}, status(422, 11, 0)},
	{"stock-33", "code 33, out of stock", "33", 0, pressonesim.Package{}, status(422, 33, 0)},
	{"recycled-73", "code 73, recycled", "73", 0, pressonesim.Package{}, status(422, 73, 0)},
	{"credit-4007", "HTTP 402, code 4007", "4007", 0, pressonesim.Package{}, status(402, 4007, 0)},
	{"package-34", "code 34, package invalid", "34", 0, pressonesim.Package{}, status(422, 34, 0)},
	{"limit-429", "HTTP 429 with Retry-After", wantCompleted, 1, pressonesim.Package{}, retryAfter(status(429, 4004, 1), time.Second)},
	{"code-4033", "HTTP 503, code 4033, twice", wantCompleted, 1, pressonesim.Package{}, status(503, 4033, 2)},
	{"bare-503", "a bare 503", wantCompleted, 1, pressonesim.Package{}, status(503, 0, 1)},
	{"late-504", "504 after the effect", wantCompleted, 1, pressonesim.Package{}, after(status(504, 0, 1))},
	{"drop-after", "connection dropped after the effect", wantCompleted, 1, pressonesim.Package{}, after(act(pressonesim.Drop))},
	{"drop-before", "connection dropped before the effect", wantCompleted, 1, pressonesim.Package{}, act(pressonesim.Drop)},
	{"code-53", "code 53, after the effect", wantCompleted, 1, pressonesim.Package{}, after(status(422, 53, 1))},
	{"code-13", "code 13, operator maintenance", wantCompleted, 1, pressonesim.Package{}, status(422, 13, 1)},
	{"code-5001", "HTTP 500, code 5001", wantCompleted, 1, pressonesim.Package{}, status(500, 5001, 1)},
	{"garbled", "a 200 that breaks off, after the effect", wantCompleted, 1, pressonesim.Package{}, after(act(pressonesim.Garbled))},
	{"missing-id", "a 200 without an order id, after the effect", wantCompleted, 1, pressonesim.Package{}, after(act(pressonesim.MissingID))},
	{"redirect", "a redirect", wantCompleted, 1, pressonesim.Package{}, act(pressonesim.Redirect)},
	{"no-answer", "no answer at all, after the effect", wantCompleted, 1, pressonesim.Package{}, after(act(pressonesim.Hang))},
	{"ready-late", "eSIMs ready late", wantCompleted, 1, pressonesim.Package{ReadyAfter: 2 * time.Second}, pressonesim.Fault{}},
	{"listed-late", "dropped, and listed late", wantCompleted, 1, pressonesim.Package{ListLag: 700 * time.Millisecond}, after(act(pressonesim.Drop))},
	{"recycled-later", "bought, then recycled", "73", 1, pressonesim.Package{Recycled: true}, pressonesim.Fault{}},
	{"never-503", "503 code 4033, for ever", "retries_exhausted", 0, pressonesim.Package{}, status(503, 4033, 0)},
}

func status(http, code, times int) pressonesim.Fault {
	return pressonesim.Fault{Action: pressonesim.Status, Status: http, Code: code, Times: times}
}

func act(a pressonesim.Action) pressonesim.Fault { return pressonesim.Fault{Action: a, Times: 1} }

func after(f pressonesim.Fault) pressonesim.Fault {
	f.When = pressonesim.After
	return f
}

func retryAfter(f pressonesim.Fault, d time.Duration) pressonesim.Fault {
	f.RetryAfter = d
	return f
}

const (
	plainPackage = "kallur-digital-7days-1gb"
	topupPackage = "bonbon-mobile-30days-3gb-topup"
)

// samples is the whole of dev's traffic, in the order it is published.
func samples(prefix string) []sample {
	var all []sample
	for i := range 20 {
		id := fmt.Sprintf("%sorder-%02d", prefix, i+1)
		all = append(all, sample{
			id: id, kind: message.Order, want: wantCompleted, needed: 1,
			body: fmt.Sprintf(`{"request_id":%q,"package_id":%q,"metadata":{"customer":"c-%d"}}`, id, plainPackage, i+1),
		})
	}
	for _, t := range troubled {
		s := sample{
			id: prefix + "order-" + t.name, trouble: t.trouble, kind: message.Order, want: t.want, needed: t.needed,
			pkg: t.pkg, fault: t.fault,
		}
		s.pkg.ID, s.pkg.Price = "sample-"+t.name, 450
		s.fault.Endpoint, s.fault.PackageID = pressonesim.Orders, s.pkg.ID
		s.body = fmt.Sprintf(`{"request_id":%q,"package_id":%q}`, s.id, s.pkg.ID)
		all = append(all, s)
	}
	plain := func(name, trouble, want string, needed int, body string, header ...string) {
		all = append(all, sample{id: prefix + name, trouble: trouble, kind: message.Order, want: want, needed: needed, body: body, header: header})
	}
	request := func(name, pkg string) string {
		return fmt.Sprintf(`{"request_id":%q,"package_id":%q}`, prefix+name, pkg)
	}
	plain("order-five", "quantity 5", wantCompleted, 1, fmt.Sprintf(`{"request_id":%q,"package_id":%q,"quantity":5}`, prefix+"order-five", plainPackage))
	plain("order-01", "a duplicate of order-01", wantDuplicate, 0,
		fmt.Sprintf(`{ "package_id":%q, "request_id":%q, "quantity":1 }`, plainPackage, prefix+"order-01"))
	plain("order-02", "order-02 with another meaning", "conflict", 0, request("order-02", "change-7days-1gb"))
	plain("malformed", "malformed bytes", "malformed", 0, "\x00\xffnot a request")
	plain("order-event", "a structured CloudEvent", wantCompleted, 1, fmt.Sprintf(
		`{"specversion":"1.0","id":"1","source":"shop","type":"order","data":%s}`, request("order-event", plainPackage)),
		"Content-Type", "application/cloudevents+json")
	plain("order-binary", "a binary CloudEvent", wantCompleted, 1, request("order-binary", plainPackage),
		"ce-specversion", "1.0", "ce-id", "2", "ce-source", "shop", "ce-type", "order")
	all = append(all, sample{
		id: prefix + "order-token", trouble: "an expired token", kind: message.Order, want: wantCompleted, needed: 1,
		body: request("order-token", plainPackage), before: (*pressonesim.Sim).ExpireTokens,
	})
	return append(all, topupSamples(prefix)...)
}

// wantDuplicate: no end of its own, and nothing bought for it.
const wantDuplicate = "duplicate"

func topupSamples(prefix string) []sample {
	iccids := pressonesim.DefaultICCIDs()
	var all []sample
	add := func(name, trouble, want string, needed int, iccid, pkg string, fault pressonesim.Fault) {
		s := sample{id: prefix + "topup-" + name, trouble: trouble, kind: message.Topup, want: want, needed: needed, fault: fault}
		if fault.Action != "" {
			s.fault.Endpoint, s.fault.ICCID = pressonesim.Topups, iccid
		}
		s.body = fmt.Sprintf(`{"request_id":%q,"iccid":%q,"package_id":%q}`, s.id, iccid, pkg)
		all = append(all, s)
	}
	for i := range 5 {
		add(fmt.Sprintf("%02d", i+1), "", wantCompleted, 1, iccids[i], topupPackage, pressonesim.Fault{})
	}
	add("again", "a second one for the same eSIM", wantCompleted, 1, iccids[0], topupPackage, pressonesim.Fault{})
	add("drop-after", "dropped after the effect, description replaced", wantCompleted, 1, iccids[5], topupPackage, after(act(pressonesim.Drop)))
	add("drop-before", "dropped before the effect", wantCompleted, 1, iccids[6], topupPackage, act(pressonesim.Drop))
	add("late-504", "504 after the effect", wantCompleted, 1, iccids[7], topupPackage, after(status(504, 0, 1)))
	add("not-offered", "not offered for that eSIM", "precheck", 0, iccids[8], "kallur-digital-7days-1gb-topup", pressonesim.Fault{})
	add("disabled-23", "code 23, disabled by the operator", "23", 0, iccids[9], topupPackage, status(422, 23, 0))
	add("recycled", "the eSIM was recycled", "73", 0, iccids[10], topupPackage, pressonesim.Fault{})
	all[len(all)-1].before = func(s *pressonesim.Sim) { _ = s.Recycle(iccids[10]) }
	return all
}
