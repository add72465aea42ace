package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// campaignRequest is a message for ESIM_REQUESTS.
type campaignRequest struct {
	at     time.Duration
	what   string // for the count
	kind   message.Kind
	body   string
	header nats.Header
}

// campaignKey is what a request is known by.
type campaignKey struct {
	kind message.Kind
	id   string
}

// campaignEnd is how a request is to end.
type campaignEnd struct {
	completed bool
	codes     []string // of dead letters that it may become, beside those of bad luck
}

// campaignKinds is the requests there are. Each call of draw makes one.
var campaignKinds = []struct {
	what   string
	weight int
	draw   func(d *campaignDraft)
}{
	{"order", 44, func(d *campaignDraft) { d.order("kallur-digital-7days-1gb", true) }},
	{"order of another package", 8, func(d *campaignDraft) { d.order("change-30days-3gb", true) }},
	{"top-up", 10, func(d *campaignDraft) { d.topup(d.iccid(), "bonbon-mobile-30days-3gb-topup", true) }},
	{"top-up of another package", 3, func(d *campaignDraft) { d.topup(d.iccid(), "bonbon-mobile-7days-1gb-topup", true) }},
	{"duplicate", 9, func(d *campaignDraft) { d.again(func(body string) string { return body }) }},
	{"duplicate in other words", 3, func(d *campaignDraft) {
		d.again(func(body string) string {
			return `{"metadata":{"retry":2}, "description":"once more",` + strings.TrimPrefix(body, "{")
		})
	}},
	{"conflict", 3, func(d *campaignDraft) {
		d.again(func(body string) string {
			body = strings.Replace(body, "kallur-digital-7days-1gb", "change-7days-1gb", 1)
			return strings.Replace(body, "-30days-3gb-topup", "-7days-1gb-topup", 1)
		})
	}},
	{"malformed", 3, func(d *campaignDraft) {
		d.kind = message.Kinds()[d.roll.IntN(2)]
		d.body = []string{
			"", "[]", "null", `{"request_id":"x"}`, "\x00\xff", `{"request_id":"x","package_id":"p","quantity":51,"iccid":"1"}`,
			strings.Repeat("x", 1+d.roll.IntN(100_000)),
		}[d.roll.IntN(7)]
	}},
	{"CloudEvent", 3, func(d *campaignDraft) {
		d.order("kallur-digital-7days-1gb", true)
		d.body = fmt.Sprintf(`{"specversion":"1.0","id":"1","source":"shop","type":"order","data":%s}`, d.body)
		d.header = nats.Header{"Content-Type": {"application/cloudevents+json"}}
	}},
	{"too dear", 2, func(d *campaignDraft) { d.order(campaignTooDear, true, "11") }},
	{"out of stock", 2, func(d *campaignDraft) { d.order(campaignNoStock, true, "33") }},
	{"no such package", 2, func(d *campaignDraft) { d.order(campaignNone, false, "34") }},
	{"recycled at once", 1, func(d *campaignDraft) { d.order(campaignRecycled, false, "73") }},
	{"top-up of a recycled eSIM", 1, func(d *campaignDraft) {
		d.topup(campaignRecycledESIM, "bonbon-mobile-30days-3gb-topup", false, "73", "precheck")
	}},
	{"top-up that is not offered", 1, func(d *campaignDraft) { d.topup(d.iccid(), campaignHidden, false, "precheck") }},
}

// campaignDraft is a request being drawn.
type campaignDraft struct {
	campaignRequest
	roll   *rand.Rand
	n      int
	past   []campaignRequest
	expect func(k campaignKey, e campaignEnd)
}

func (d *campaignDraft) iccid() string {
	return pressonesim.DefaultICCIDs()[d.roll.IntN(campaignESIMs)]
}

// order draws an order, which is to be completed or not, codes being what it may stop for.
func (d *campaignDraft) order(pkg string, completed bool, codes ...string) {
	id := fmt.Sprintf("o-%d", d.n)
	d.kind = message.Order
	d.body = fmt.Sprintf(`{"request_id":"%s","package_id":"%s","quantity":%d,"metadata":{"n":%d}}`, id, pkg, 1+d.roll.IntN(3), d.n)
	d.expect(campaignKey{d.kind, id}, campaignEnd{completed, codes})
}

// topup draws a top-up. Some have the request_id of an order: that is another key.
func (d *campaignDraft) topup(iccid, pkg string, completed bool, codes ...string) {
	id := fmt.Sprintf("t-%d", d.n)
	if d.roll.IntN(4) == 0 {
		id = fmt.Sprintf("o-%d", d.n-1)
	}
	d.kind = message.Topup
	d.body = fmt.Sprintf(`{"request_id":"%s","package_id":"%s","iccid":"%s","metadata":{"n":%d}}`, id, pkg, iccid, d.n)
	d.expect(campaignKey{d.kind, id}, campaignEnd{completed, codes})
}

// again draws a recent request once more, changed.
func (d *campaignDraft) again(change func(body string) string) {
	old := d.past[max(0, len(d.past)-1-d.roll.IntN(40))]
	d.kind, d.header, d.body = old.kind, old.header, change(old.body)
}

// requestsEvery is the mean time between two requests.
const requestsEvery = 90 * time.Millisecond

// draw draws all requests of the campaign and how they are to end.
func (c *campaign) draw() []campaignRequest {
	roll := c.dice(campaignTrafficDice)
	weights := 0
	for _, k := range campaignKinds {
		weights += k.weight
	}
	var all, past []campaignRequest
	for n, at := 0, time.Duration(0); at < c.length; n, at = n+1, at+time.Duration(roll.Int64N(int64(2*requestsEvery))) {
		pick := roll.IntN(weights)
		i := 0
		for ; pick >= campaignKinds[i].weight; i++ {
			pick -= campaignKinds[i].weight
		}
		if len(past) == 0 {
			i = 0
		}
		d := campaignDraft{roll: roll, n: n, past: past, expect: func(k campaignKey, e campaignEnd) { c.expected[k] = e }}
		d.at, d.what = at, campaignKinds[i].what
		campaignKinds[i].draw(&d)
		all = append(all, d.campaignRequest)
		if d.what == "order" || d.what == "top-up" {
			past = append(past, d.campaignRequest) // what may come again
		}
	}
	return all
}

// traffic publishes the requests at their time, or, when NATS is away, as soon as it is
// back.
func (c *campaign) traffic(ctx context.Context) {
	for _, r := range c.draw() {
		c.until(ctx, r.at) // those that are late when ctx ends come all at once
		c.count1("request " + r.what)
		c.send(context.WithoutCancel(ctx), r)
	}
}

// send publishes a request until JetStream acknowledges it. An acknowledgement that was
// lost makes a duplicate under another sequence, as it does upstream.
func (c *campaign) send(ctx context.Context, r campaignRequest) {
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		ack, err := c.js.PublishMsg(try, &nats.Msg{Subject: message.RequestSubject(r.kind), Header: r.header, Data: []byte(r.body)})
		cancel()
		if err == nil {
			c.acked = append(c.acked, ack.Sequence)
			return
		}
		c.count1("request published again")
	}
}
