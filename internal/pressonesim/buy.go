package pressonesim

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// purchase is what a POST asks for, once its fields are in order.
type purchase struct {
	kind     Kind
	pkgID    string
	quantity int
	iccid    string // top-ups
	sent     string // description
	stored   *string
}

func (s *Sim) postOrder(c *call) *reply {
	if len(c.form) == 0 {
		return c.business(codePackage) // observed (section 3.1)
	}
	if rp := s.checkOrder(c); rp != nil {
		return rp
	}
	return s.buy(c, c.purchase())
}

// purchase reads the form of either POST, and decides what is kept of its
// description.
func (c *call) purchase() purchase {
	p := purchase{kind: KindSim, pkgID: c.form.get("package_id"), quantity: 1, sent: c.form.raw("description")}
	keep, fallback := c.knobs.OrderDescription, ""
	if c.endpoint == Topups {
		p.kind, p.iccid = KindTopup, c.form.get("iccid")
		keep, fallback = c.knobs.TopupDescription, "Topup ("+p.iccid+")"
	} else {
		if n, ok := whole(c.form.get("quantity")); ok {
			p.quantity = n
		}
		fallback = fmt.Sprintf("%d sim %s", p.quantity, p.pkgID)
	}
	switch {
	case keep == Replaced || keep == Kept && p.sent == "":
		p.stored = &fallback
	case keep == Kept:
		p.stored = new(p.sent)
	}
	return p
}

// checkOrder validates the fields; type is ignored, as observed.
func (s *Sim) checkOrder(c *call) *reply {
	fields := make(map[string]string)
	if c.form.get("package_id") == "" {
		fields["package_id"] = "The package id field is required."
	}
	text := c.form.get("quantity")
	quantity, ok := whole(text)
	switch {
	case text == "":
		fields["quantity"] = "The quantity field is required."
	case !ok:
		fields["quantity"] = "The quantity must be an integer."
	case quantity < 1:
		fields["quantity"] = "The quantity must be at least 1."
	case quantity > 50:
		fields["quantity"] = "The quantity may not be greater than 50."
	}
	if brand := c.form.get("brand_settings_name"); brand != "" && !slices.Contains(s.cfg.Brands, brand) {
		fields["brand_settings_name"] = "Brand settings name doesn't exist."
	}
	if c.form.get("to_email") != "" && len(c.form["sharing_option"]) == 0 {
		fields["sharing_option"] = "The sharing option field is required when to email is present."
	}
	for i, option := range c.form["sharing_option"] {
		if option != "link" && option != "pdf" {
			fields[fmt.Sprintf("sharing_option.%d", i)] = "The selected sharing option is invalid."
		}
	}
	if len(fields) > 0 {
		return c.invalid(fields)
	}
	return nil
}

func (s *Sim) postTopup(c *call) *reply {
	fields := make(map[string]string)
	for name, text := range map[string]string{"package_id": "The package id field is required.", "iccid": "The iccid field is required."} {
		if c.form.get(name) == "" {
			fields[name] = text
		}
	}
	if len(fields) > 0 {
		return c.invalid(fields)
	}
	return s.buy(c, c.purchase())
}

// buy sells, or refuses: all or nothing, in one step under the lock.
func (s *Sim) buy(c *call, p purchase) *reply {
	s.mu.Lock()
	o, rp := s.sell(c, p)
	s.mu.Unlock()
	if rp != nil {
		return rp
	}
	w := s.renderOrder(c, o, submitted)
	rp = c.ok(w)
	rp.effect = true
	return rp
}

// sell wants the lock.
func (s *Sim) sell(c *call, p purchase) (*order, *reply) {
	pkg := s.catalogue.byID[p.pkgID]
	if pkg == nil || pkg.Kind != p.kind {
		if p.kind == KindTopup {
			return nil, c.e2("package_id", "invalid topup package")
		}
		if c.knobs.BadPackage == E2 {
			return nil, c.e2("package_id", "The selected package is invalid.")
		}
		return nil, c.business(codePackage)
	}
	if p.kind == KindTopup {
		if rp := s.refuseTopup(c, p, pkg); rp != nil {
			return nil, rp
		}
	}
	o := p.order(pkg, c.now)
	if rp := refuseStock(c, pkg, p.quantity); rp != nil {
		return nil, s.refused(c, o, rp)
	}
	if o.Price > s.balance {
		code := codeCredit
		if c.knobs.OutOfCredit == http.StatusPaymentRequired {
			code = codePayment
		}
		return nil, s.refused(c, o, c.business(code))
	}
	s.balance -= o.Price
	if pkg.Stock != nil {
		*pkg.Stock -= p.quantity
	}
	if p.kind == KindTopup {
		s.planSeq++
		target := s.cards[p.iccid]
		target.plans = append(target.plans, plan{id: 62000 + s.planSeq, pkg: pkg, createdAt: c.now})
		o.cards = []*card{target}
	} else {
		s.makeCards(o)
	}
	s.enter(o)
	return o, nil
}

func (p purchase) order(pkg *Package, now time.Time) *order {
	return &order{pkg: pkg, Order: Order{
		Kind: p.kind, PackageID: p.pkgID, Quantity: p.quantity, ICCID: p.iccid, Sent: p.sent, Stored: p.stored,
		UnitPrice: pkg.Price, Price: pkg.Price * Cents(p.quantity), CreatedAt: now, Status: Completed,
	}}
}

func (s *Sim) refuseTopup(c *call, p purchase, pkg *Package) *reply {
	card := s.cards[p.iccid]
	switch {
	case card == nil || !card.shown(c.now, c.knobs):
		return c.e2("iccid", "The selected iccid is invalid.")
	case card.recycledAt != nil:
		return c.business(codeRecycled)
	case !card.op.Rechargeable:
		return c.business(codeDisabled)
	case card.status != Active || pkg.Operator != card.op.Name:
		return c.e2("package_id", "invalid topup package")
	}
	return nil
}

func refuseStock(c *call, pkg *Package, quantity int) *reply {
	if pkg.Stock == nil || *pkg.Stock >= quantity {
		return nil
	}
	left := fmt.Sprintf("Available quantity: %d", *pkg.Stock)
	if c.knobs.OutOfStock == E2 {
		return c.e2("quantity", "SIM quantity is not available. "+left)
	}
	return c.e1(http.StatusUnprocessableEntity, codeStock, reasons[codeStock]+" "+left)
}

// refused leaves a failed row behind, if that is how PressOne does it.
func (s *Sim) refused(c *call, o *order, rp *reply) *reply {
	if c.knobs.FailedRows {
		o.Status = Failed
		s.enter(o)
	}
	return rp
}

// makeCards makes the eSIMs of an order.
func (s *Sim) makeCards(o *order) {
	for i := range o.Quantity {
		iccid := iccidFor(s.iccidSeq)
		s.iccidSeq++
		for s.cards[iccid] != nil { // one that was added by hand
			iccid = iccidFor(s.iccidSeq)
			s.iccidSeq++
		}
		card := s.newCard(iccid, o.pkg, o.CreatedAt)
		card.order, card.last = o, i == o.Quantity-1
		if o.pkg.Recycled {
			card.recycledAt = new(o.CreatedAt)
		}
		if o.pkg.Active {
			card.status = Active
		}
		s.cards[iccid] = card
		s.cardList = append(s.cardList, card)
		o.cards = append(o.cards, card)
		o.Sims = append(o.Sims, SoldSim{ICCID: iccid, MatchingID: card.matchingID})
	}
}

// recordFailure leaves the failed row of an attempt that a fault cut short,
// if that is how PressOne does it. Calls that never got past the door leave
// none.
func (s *Sim) recordFailure(c *call, f *Fault) {
	status := f.Status
	if status == 0 {
		status = statusOf(f.Code)
	}
	if !c.knobs.FailedRows || status == http.StatusTooManyRequests || status == http.StatusUnauthorized {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pkg := s.catalogue.byID[c.form.get("package_id")]
	if pkg == nil {
		return
	}
	o := c.purchase().order(pkg, s.now())
	o.Status = Failed
	s.enter(o)
}
