package pressonesim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// view says in which answer an order is shown; types and fields differ.
type view struct {
	submitted          bool // the answer to a POST
	sims, user, status bool
	share              bool
}

var submitted = view{submitted: true, sims: true}

// include reads the comma list of section 8 and 9.
func include(list string) view {
	var v view
	for name := range strings.SplitSeq(list, ",") {
		switch strings.TrimSpace(name) {
		case "sims":
			v.sims = true
		case "user":
			v.user = true
		case "status":
			v.status = true
		}
	}
	return v
}

// status is what the order shows at a time.
func (o *order) status(now time.Time, k *Knobs) OrderStatus {
	status := o.settled()
	if status == Completed && now.Before(readyAt(o.CreatedAt, o.pkg, k)) {
		return Pending
	}
	return status
}

func (s *Sim) renderOrder(c *call, o *order, v view) wireOrder {
	// The documented types: see section 13, first table rows.
	quantity, validity, price := asNumber, asString, asString
	if v.submitted {
		quantity, validity, price = asString, asNumber, asNumber
	}
	amount, net := o.UnitPrice, o.pkg.NetPrice
	if c.knobs.TotalPrice {
		amount, net = o.Price, net*Cents(o.Quantity)
	}
	w := wireOrder{
		ID: o.ID, Code: o.Code, Currency: "USD", PackageID: o.PackageID, Type: o.Kind, Description: o.Stored,
		Quantity: c.render.int(o.Quantity, quantity), Validity: c.render.int(o.pkg.Days, validity),
		Price: c.render.money(amount, price), NetPrice: c.render.netPrice(net), PricingModel: "net_pricing",
		EsimType: "Prepaid", Package: o.pkg.fullTitle(), Data: o.pkg.data(), CreatedAt: stamp(o.CreatedAt),
		ManualInstallation: "", QRInstallation: "<p>Scan the QR code.</p>",
		InstallationGuides: map[string]string{"en": "https://guides.pressone.example/installation"},
		Text:               o.pkg.Text, Voice: o.pkg.Voice,
	}
	if v.sims && o.withSims(c, v) {
		sims := make([]wireSim, 0, len(o.cards))
		for _, card := range o.cards {
			if card.shown(c.now, c.knobs) && o.Status != Failed {
				sims = append(sims, c.renderSim(card))
			}
		}
		w.Sims = &sims
	}
	if v.status {
		status := o.status(c.now, c.knobs)
		w.Status = &wireStatus{Name: status.name(), Slug: status}
	}
	if v.user {
		w.User = &wireUser{ID: 120, CreatedAt: "2023-02-20 08:41:57", Name: "Example reseller", Email: "reseller@pressone.example", Company: "Example"}
	}
	if v.share {
		w.Sharing = &wireSharing{Link: "https://esims.pressone.example/sharing/" + o.Code, AccessCode: o.Code[len(o.Code)-4:]}
	}
	return w
}

// withSims tells whether the order has a sims key at all.
func (o *order) withSims(c *call, v view) bool {
	if o.Kind == KindTopup {
		return c.knobs.TopupSims
	}
	return !v.submitted || !c.knobs.AnswerWithoutSims
}

func (s *Sim) getOrder(c *call) *reply {
	id, ok := whole(c.id)
	if !ok {
		return c.notFound()
	}
	s.mu.RLock()
	o := s.orderByID(id)
	s.mu.RUnlock()
	if o == nil || c.now.Before(o.CreatedAt.Add(c.knobs.OrderLag+o.pkg.OrderLag)) {
		if c.knobs.UnknownOrder == http.StatusNotFound {
			return c.notFound()
		}
		return c.e3(http.StatusUnauthorized, textUnauthorized)
	}
	return c.ok(s.renderOrder(c, o, include(c.query.Get("include"))))
}

// orderFilter is what GET orders is asked for.
type orderFilter struct {
	code, iccid, description pattern
	status                   OrderStatus
	created                  dateRange
}

func (s *Sim) getOrders(c *call) *reply {
	p, rp := c.paging(50)
	if rp != nil {
		return rp
	}
	f := orderFilter{
		code:        newPattern(c.query.Get("filter[code]"), c.knobs),
		iccid:       newPattern(c.query.Get("filter[iccid]"), c.knobs),
		description: newPattern(c.query.Get("filter[description]"), c.knobs),
		status:      OrderStatus(c.query.Get("filter[order_status]")),
	}
	if f.created, rp = c.dateRange(); rp != nil {
		return rp
	}
	// Orders are never changed once listed, so the search needs no lock.
	s.mu.RLock()
	orders := s.orders
	s.mu.RUnlock()
	found := make([]*order, 0, p.limit)
	for _, o := range slices.Backward(orders) {
		if f.match(o, c) && p.count() {
			found = append(found, o)
		}
	}
	v := include(c.query.Get("include"))
	data := make([]wireOrder, len(found))
	for i, o := range found {
		data[i] = s.renderOrder(c, o, v)
	}
	return c.page(p, data, len(data))
}

func (f *orderFilter) match(o *order, c *call) bool {
	if lag := c.knobs.ListLag + o.pkg.ListLag; lag > 0 && c.now.Before(o.CreatedAt.Add(lag)) {
		return false
	}
	if !f.created.contains(o.CreatedAt) {
		return false
	}
	if !f.description.empty() && (o.Stored == nil || !f.description.match(*o.Stored, o.lowDesc)) {
		return false
	}
	if !f.code.match(o.Code, o.lowCode) {
		return false
	}
	if !f.iccid.empty() && !f.matchICCID(o, c) {
		return false
	}
	return f.status == "" || f.status == o.status(c.now, c.knobs)
}

// matchICCID looks at the eSIMs of the order, and for top-ups, where there are
// none, at the eSIM that was topped up, if the knob says so.
func (f *orderFilter) matchICCID(o *order, c *call) bool {
	if o.Kind == KindTopup {
		return c.knobs.TopupMatchesICCID && f.iccid.match(o.ICCID, o.ICCID)
	}
	for _, card := range o.cards {
		if card.shown(c.now, c.knobs) && f.iccid.match(card.iccid, card.iccid) {
			return true
		}
	}
	return false
}
