package pressonesim

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// lpa is the address of the SM-DP+ server that all eSIMs come from.
const lpa = "rsp.pressone.example"

func (c *call) renderSim(card *card) wireSim {
	apn := c.render.apn(card.op.APNValue)
	one := wireOneAPN{APNType: card.op.APNType, APNValue: apn}
	w := wireSim{
		ID: card.id, CreatedAt: stamp(card.createdAt), ICCID: card.iccid,
		APNType: card.op.APNType, APNValue: apn, IsRoaming: new(card.op.Roaming),
		APN: &wireAPN{IOS: one, Android: one},
	}
	if card.ready(c.now, c.knobs) {
		w.LPA, w.MatchingID = lpa, card.matchingID
		w.QRCode = "LPA:1$" + lpa + "$" + card.matchingID
		w.QRCodeURL = "https://pressone.example/qr?id=" + card.iccid + "&expires=" + c.now.UTC().Add(24*time.Hour).Format("20060102150405") + "&signature=" + matchingIDFor("qr/"+card.iccid)
		w.AppleURL = "https://esimsetup.apple.com/esim_qrcode_provisioning?carddata=" + w.QRCode
	}
	return w
}

// renderFullSim wants the lock, for what can change on a card.
func (s *Sim) renderFullSim(c *call, card *card) wireFullSim {
	w := wireFullSim{wireSim: c.renderSim(card), Recycled: card.recycledAt != nil}
	if w.Recycled {
		w.RecycledAt = new(stamp(*card.recycledAt))
	}
	includes := c.query.Get("include")
	if card.order == nil || !strings.Contains(includes, "order") {
		return w
	}
	v := view{
		status: strings.Contains(includes, "order.status"),
		user:   strings.Contains(includes, "order.user"),
		share:  strings.Contains(includes, "share"),
	}
	w.Simable = new(s.renderOrder(c, card.order, v))
	return w
}

// card finds the eSIM in the path, or the 404 to answer.
func (s *Sim) card(c *call) (*card, *reply) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if card := s.cards[c.id]; card != nil && card.shown(c.now, c.knobs) {
		return card, nil
	}
	return nil, c.notFound()
}

func (s *Sim) getSim(c *call) *reply {
	card, rp := s.card(c)
	if rp != nil {
		return rp
	}
	s.mu.RLock()
	w := s.renderFullSim(c, card)
	s.mu.RUnlock()
	return c.ok(w)
}

func (s *Sim) getSims(c *call) *reply {
	p, rp := c.paging(100)
	if rp != nil {
		return rp
	}
	created, rp := c.dateRange()
	if rp != nil {
		return rp
	}
	iccid := newPattern(c.query.Get("filter[iccid]"), c.knobs)
	s.mu.RLock()
	defer s.mu.RUnlock()
	data := make([]wireFullSim, 0, p.limit)
	for _, card := range slices.Backward(s.cardList) {
		if card.shown(c.now, c.knobs) && created.contains(card.createdAt) && iccid.match(card.iccid, card.iccid) && p.count() {
			data = append(data, s.renderFullSim(c, card))
		}
	}
	return c.page(p, data, len(data))
}

// getUsage repeats an answer for UsageAge, as PressOne's cache does.
func (s *Sim) getUsage(c *call) *reply {
	card, rp := s.card(c)
	if rp != nil {
		return rp
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if card.usage == nil || !c.now.Before(card.usage.repeats) {
		card.usage = &usageCache{body: card.wireUsage(c), repeats: c.now.Add(c.knobs.UsageAge)}
	}
	return c.ok(card.usage.body)
}

// wireUsage adds up the plans that are ready.
func (card *card) wireUsage(c *call) wireUsage {
	if card.recycledAt != nil {
		return wireUsage{Status: RecycledCard}
	}
	w := wireUsage{Status: card.status, IsUnlimited: new(false)}
	ends := card.createdAt
	for _, p := range card.plans {
		if !p.ready(c) {
			continue
		}
		*w.IsUnlimited = *w.IsUnlimited || p.pkg.Unlimited
		w.Total += p.pkg.AmountMB
		if p.pkg.Voice != nil {
			w.TotalVoice += *p.pkg.Voice
		}
		if p.pkg.Text != nil {
			w.TotalText += *p.pkg.Text
		}
		ends = ends.AddDate(0, 0, p.pkg.Days)
	}
	w.RemainingVoice, w.RemainingText = w.TotalVoice, w.TotalText
	w.Remaining = max(0, w.Total-card.usedMB)
	if *w.IsUnlimited {
		w.Total, w.Remaining = 0, 0
	}
	if card.status != NotActive {
		w.ExpiredAt = new(stamp(ends))
	}
	return w
}

func (p plan) ready(c *call) bool {
	if p.pkg.Kind == KindSim {
		return true
	}
	return !c.now.Before(readyAt(p.createdAt, p.pkg, c.knobs))
}

// getHistory lists the plans of an eSIM, newest first. It tells of no order and
// no description.
func (s *Sim) getHistory(c *call) *reply {
	card, rp := s.card(c)
	if rp != nil {
		return rp
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	data := make([]wirePlan, 0, len(card.plans))
	used := card.usedMB
	for i, p := range card.plans {
		if !p.ready(c) {
			continue
		}
		spent := min(used, p.pkg.AmountMB)
		used -= spent
		w := wirePlan{ID: p.id, Status: NotActive, Remaining: p.pkg.AmountMB - spent, Package: c.renderPlan(p.pkg)}
		if i == 0 {
			w.Status = card.status
		}
		if card.recycledAt != nil {
			w.Status = RecycledCard
		}
		if w.Status != NotActive && w.Status != RecycledCard {
			w.ActivatedAt = new(isoStamp(p.createdAt))
			w.ExpiredAt = new(isoStamp(p.createdAt.AddDate(0, 0, p.pkg.Days)))
		}
		if w.Status == Finished {
			w.FinishedAt = new(isoStamp(p.createdAt))
		}
		data = append(data, w)
	}
	slices.Reverse(data)
	return c.okBare(data)
}

func (c *call) renderPlan(p *Package) wirePlanPackage {
	w := wirePlanPackage{
		ID: p.ID, Type: p.Kind, Price: c.render.money(p.Price, asNumber), NetPrice: c.render.netPrice(p.NetPrice),
		Amount: p.AmountMB, Day: p.Days, IsUnlimited: p.Unlimited, Title: p.title(), Data: p.data(), Voice: p.Voice, Text: p.Text,
	}
	if p.ShortInfo != "" {
		w.ShortInfo = &p.ShortInfo
	}
	return w
}

// getTopups lists what an eSIM can be topped up with: nothing unless it is
// active and its operator allows it.
func (s *Sim) getTopups(c *call) *reply {
	card, rp := s.card(c)
	if rp != nil {
		return rp
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if card.recycledAt != nil {
		return c.business(codeRecycled)
	}
	data := []wirePlanPackage{}
	if card.op.Rechargeable && card.status == Active {
		for _, p := range s.catalogue.of(card.op.Name, KindTopup) {
			data = append(data, c.renderPlan(p))
		}
	}
	return c.okBare(data)
}

func (s *Sim) getInstructions(c *call) *reply {
	card, rp := s.card(c)
	if rp != nil {
		return rp
	}
	language, _, _ := strings.Cut(c.language, ",")
	language, _, _ = strings.Cut(strings.TrimSpace(language), "-")
	orDefault(&language, "en")
	w := c.renderSim(card)
	guide := func(apple bool) map[string]any {
		scan := map[string]any{
			"steps":        map[string]string{"1": "Open the settings.", "2": "Scan the QR code."},
			"qr_code_data": w.QRCode, "qr_code_url": w.QRCodeURL,
		}
		if apple {
			scan["direct_apple_installation_url"] = w.AppleURL
		}
		return map[string]any{
			"model": nil, "version": nil,
			"installation_via_qr_code": scan,
			"installation_manual": map[string]any{
				"steps":                            map[string]string{"1": "Open the settings.", "2": "Type in the address and the code."},
				"smdp_address_and_activation_code": w.QRCode,
			},
			"network_setup": map[string]any{
				"steps":    map[string]string{"1": "Turn on data roaming."},
				"apn_type": w.APNType, "apn_value": w.APNValue, "is_roaming": nil,
			},
		}
	}
	return c.ok(map[string]any{"instructions": map[string]any{
		"language": strings.ToUpper(url.PathEscape(language)),
		"ios":      []any{guide(true)}, "android": []any{guide(false)},
	}})
}
