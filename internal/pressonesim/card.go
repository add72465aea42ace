package pressonesim

import (
	"errors"
	"fmt"
	"time"
)

// SimStatus is the state that usage and package history show.
type SimStatus string

// The states of an eSIM or of one package on it.
const (
	NotActive    SimStatus = "NOT_ACTIVE"
	Active       SimStatus = "ACTIVE"
	Finished     SimStatus = "FINISHED"
	Expired      SimStatus = "EXPIRED"
	Unknown      SimStatus = "UNKNOWN"
	RecycledCard SimStatus = "RECYCLED"
)

// ESIM describes an eSIM that exists without having been sold here. Only ICCID
// is needed: the zero values stand for an active eSIM of
// bonbon-mobile-30days-3gb.
type ESIM struct {
	ICCID     string    `json:"iccid"`
	PackageID string    `json:"package_id"`
	Status    SimStatus `json:"status"`
	UsedMB    int       `json:"used_mb"`
	Recycled  bool      `json:"recycled"`
}

// card is an eSIM as the simulator holds it. What stands above mu's line is
// never changed; the rest is guarded by Sim.mu.
type card struct {
	id         int
	iccid      string
	matchingID string
	createdAt  time.Time
	pkg        *Package
	op         *operator
	order      *order // nil for eSIMs that were not sold here
	last       bool   // the last unit of its order

	status     SimStatus
	recycledAt *time.Time
	usedMB     int
	plans      []plan
	usage      *usageCache
}

// plan is a package on an eSIM: the one it was sold with, then its top-ups.
type plan struct {
	id        int
	pkg       *Package
	createdAt time.Time
}

type usageCache struct {
	body    wireUsage
	repeats time.Time // until
}

// AddSim adds an eSIM that exists beforehand, or replaces it. It panics when
// the ICCID or package could not exist.
func (s *Sim) AddSim(e ESIM) {
	if err := s.addSim(e); err != nil {
		panic(err)
	}
}

func (s *Sim) addSim(e ESIM) error {
	orDefault(&e.PackageID, "bonbon-mobile-30days-3gb")
	orDefault(&e.Status, Active)
	if n := len(e.ICCID); n < 18 || n > 22 {
		return fmt.Errorf("pressonesim: iccid %q: want 18 to 22 digits", e.ICCID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pkg := s.catalogue.byID[e.PackageID]
	if pkg == nil || pkg.Kind != KindSim {
		return fmt.Errorf("pressonesim: iccid %s: no sim package %q", e.ICCID, e.PackageID)
	}
	now := s.now()
	c := s.newCard(e.ICCID, pkg, now)
	c.status, c.usedMB = e.Status, e.UsedMB
	if e.Recycled || e.Status == RecycledCard {
		c.recycledAt = &now
	}
	if old := s.cards[e.ICCID]; old != nil {
		for i := range s.cardList {
			if s.cardList[i] == old {
				// A copy: readers may hold the list.
				list := append([]*card(nil), s.cardList...)
				list[i] = c
				s.cardList = list
			}
		}
	} else {
		s.cardList = append(s.cardList, c)
	}
	s.cards[e.ICCID] = c
	return nil
}

// newCard wants the lock.
func (s *Sim) newCard(iccid string, pkg *Package, now time.Time) *card {
	s.cardSeq++
	s.planSeq++
	return &card{
		id: 11000 + s.cardSeq, iccid: iccid, matchingID: matchingIDFor(iccid), createdAt: now,
		pkg: pkg, op: operatorByName(pkg.Operator), status: NotActive,
		plans: []plan{{id: 62000 + s.planSeq, pkg: pkg, createdAt: now}},
	}
}

var errNoSim = errors.New("pressonesim: no such eSIM")

// Recycle makes an eSIM unusable for good, as PressOne does with those not
// installed or topped up in time.
func (s *Sim) Recycle(iccid string) error {
	return s.changeCard(iccid, func(c *card) {
		now := s.now()
		c.recycledAt, c.usage = &now, nil
	})
}

// SetSimStatus changes what usage and package history show, and so whether
// top-ups are on offer: only for active eSIMs. A usage answer that is being
// repeated (UsageAge) goes on being repeated.
func (s *Sim) SetSimStatus(iccid string, status SimStatus) error {
	return s.changeCard(iccid, func(c *card) { c.status = status })
}

// Use takes data off an eSIM.
func (s *Sim) Use(iccid string, megabytes int) error {
	return s.changeCard(iccid, func(c *card) { c.usedMB += megabytes })
}

func (s *Sim) changeCard(iccid string, change func(*card)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cards[iccid]
	if c == nil {
		return fmt.Errorf("%w: %s", errNoSim, iccid)
	}
	change(c)
	return nil
}

// readyAt is when what was sold at a time can be used.
func readyAt(sold time.Time, pkg *Package, k *Knobs) time.Time {
	return sold.Add(k.ReadyAfter + pkg.ReadyAfter)
}

// ready tells whether the card can be installed.
func (c *card) ready(now time.Time, k *Knobs) bool {
	if c.order == nil {
		return true
	}
	if k.NotReadyAs == Partial && !c.last {
		return true
	}
	return !now.Before(readyAt(c.createdAt, c.pkg, k))
}

// shown tells whether it can be seen.
func (c *card) shown(now time.Time, k *Knobs) bool {
	return k.NotReadyAs == NoQRCode || c.ready(now, k)
}
