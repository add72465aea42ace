package pressonesim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is what an order or package is for.
type Kind string

// The kinds, as PressOne spells them.
const (
	KindSim   Kind = "sim"
	KindTopup Kind = "topup"
)

// DefaultOperator is who provides packages that name no operator. Its eSIMs
// can be topped up; DefaultICCIDs are its.
const DefaultOperator = "bonbon-mobile"

// Package is one thing for sale. Only ID is needed: the zero values stand for
// a sim package of 1 GB for 7 days at $4.50 by DefaultOperator.
type Package struct {
	ID        string `json:"id"`
	Kind      Kind   `json:"kind"`
	Operator  string `json:"operator"`
	Price     Cents  `json:"price_cents"`
	NetPrice  Cents  `json:"net_price_cents"` // default: four fifths of Price
	AmountMB  int    `json:"amount_mb"`       // 0 with Unlimited
	Days      int    `json:"days"`
	Unlimited bool   `json:"unlimited"`
	Voice     *int   `json:"voice"` // minutes
	Text      *int   `json:"text"`  // messages
	ShortInfo string `json:"short_info"`

	// What follows makes a package a scenario of its own.

	// Stock is how many are left; nil is any number.
	Stock *int `json:"stock"`
	// Hidden packages can be bought but are in no list.
	Hidden bool `json:"hidden"`
	// ReadyAfter, ListLag and OrderLag add to the knobs of that name.
	ReadyAfter time.Duration `json:"ready_after"`
	ListLag    time.Duration `json:"list_lag"`
	OrderLag   time.Duration `json:"order_lag"`
	// Recycled makes its eSIMs recycled from birth.
	Recycled bool `json:"recycled"`
	// Active makes its eSIMs active from birth, so that they can be topped up.
	Active bool `json:"active"`
}

func (p Package) filled() (Package, error) {
	orDefault(&p.Kind, KindSim)
	orDefault(&p.Operator, DefaultOperator)
	orDefault(&p.Price, 450)
	orDefault(&p.NetPrice, p.Price*4/5)
	orDefault(&p.Days, 7)
	if p.AmountMB == 0 && !p.Unlimited {
		p.AmountMB = 1024
	}
	if p.Stock != nil {
		p.Stock = new(*p.Stock)
	}
	switch {
	case p.ID == "":
		return p, fmt.Errorf("pressonesim: package without id")
	case p.Kind != KindSim && p.Kind != KindTopup:
		return p, fmt.Errorf("pressonesim: package %s: no kind %q", p.ID, p.Kind)
	case operatorByName(p.Operator) == nil:
		return p, fmt.Errorf("pressonesim: package %s: no operator %q", p.ID, p.Operator)
	}
	return p, nil
}

func (p *Package) data() string {
	switch {
	case p.Unlimited:
		return "Unlimited"
	case p.AmountMB%1024 == 0:
		return fmt.Sprintf("%d GB", p.AmountMB/1024)
	}
	return fmt.Sprintf("%d MB", p.AmountMB)
}

func (p *Package) title() string {
	return fmt.Sprintf("%s - %d Days", p.data(), p.Days)
}

// fullTitle is how orders name a package: "Kallur Digital-1 GB - 7 Days".
func (p *Package) fullTitle() string {
	return operatorByName(p.Operator).Title + "-" + p.title()
}

// region is a country, or a region with an empty code.
type region struct {
	slug, code, title string
}

// operator is one seller of packages in a region.
type operator struct {
	ID           int
	Name         string
	Title        string
	Region       region
	Coverage     []region
	Global       bool
	Rechargeable bool
	PlanType     string
	APNType      string
	APNValue     string
	Roaming      bool
	GraceDays    *int
	InstallDays  *int
}

var (
	faroe   = region{"faroe-islands", "FO", "Faroe Islands"}
	america = region{"united-states", "US", "United States"}
	croatia = region{"croatia", "HR", "Croatia"}
	britain = region{"united-kingdom", "GB", "United Kingdom"}
	europe  = region{"europe", "", "Europe"}
	world   = region{"world", "", "Discover Global"}
)

var operators = []*operator{
	{ID: 569, Name: "kallur-digital", Title: "Kallur Digital", Region: faroe, Coverage: []region{faroe}, Rechargeable: true, PlanType: "data", APNType: "automatic", APNValue: "", Roaming: true},
	{ID: 138, Name: "change", Title: "Change", Region: america, Coverage: []region{america}, Rechargeable: true, PlanType: "data", APNType: "manual", APNValue: "wbdata", Roaming: true, GraceDays: new(30), InstallDays: new(365)},
	{ID: 120, Name: "bonbon-mobile", Title: "Bonbon Mobile", Region: croatia, Coverage: []region{croatia}, Rechargeable: true, PlanType: "data", APNType: "automatic", APNValue: "N/A", Roaming: true},
	{ID: 611, Name: "orbit-mobile", Title: "Orbit Mobile", Region: britain, Coverage: []region{britain}, Rechargeable: false, PlanType: "data", APNType: "manual", APNValue: "orbit.internet", Roaming: false},
	{ID: 85, Name: "eurolink", Title: "Eurolink", Region: europe, Coverage: []region{croatia, britain, faroe}, Global: true, Rechargeable: true, PlanType: "data", APNType: "automatic", APNValue: "", Roaming: true},
	{ID: 473, Name: "discover", Title: "Discover+", Region: world, Coverage: []region{america, croatia, britain}, Global: true, Rechargeable: true, PlanType: "data-voice-text", APNType: "automatic", APNValue: "globaldata", Roaming: true, GraceDays: new(0)},
}

func operatorByName(name string) *operator {
	for _, o := range operators {
		if o.Name == name {
			return o
		}
	}
	return nil
}

// defaultPackages is the catalogue before anything is added. Some top-up ids
// end in a time stamp, as real ones do (section 6).
func defaultPackages() []Package {
	return []Package{
		{ID: "kallur-digital-7days-1gb", Operator: "kallur-digital", Price: 950, Days: 7, AmountMB: 1024, ShortInfo: "This eSIM doesn't come with a phone number."},
		{ID: "kallur-digital-15days-2gb", Operator: "kallur-digital", Price: 1650, Days: 15, AmountMB: 2048},
		{ID: "kallur-digital-7days-1gb-topup", Kind: KindTopup, Operator: "kallur-digital", Price: 950, Days: 7, AmountMB: 1024},
		{ID: "change-7days-1gb", Operator: "change", Price: 450, Days: 7, AmountMB: 1024},
		{ID: "change-30days-3gb", Operator: "change", Price: 1100, Days: 30, AmountMB: 3072},
		{ID: "change-10days-unlimited", Operator: "change", Price: 2900, Days: 10, Unlimited: true},
		{ID: "change-7days-1gb-topup-20221229215302", Kind: KindTopup, Operator: "change", Price: 450, Days: 7, AmountMB: 1024},
		{ID: "bonbon-mobile-7days-1gb", Operator: "bonbon-mobile", Price: 450, Days: 7, AmountMB: 1024},
		{ID: "bonbon-mobile-30days-3gb", Operator: "bonbon-mobile", Price: 1000, Days: 30, AmountMB: 3072},
		{ID: "bonbon-mobile-7days-1gb-topup", Kind: KindTopup, Operator: "bonbon-mobile", Price: 450, Days: 7, AmountMB: 1024},
		{ID: "bonbon-mobile-30days-3gb-topup", Kind: KindTopup, Operator: "bonbon-mobile", Price: 1000, Days: 30, AmountMB: 3072},
		{ID: "orbit-mobile-7days-1gb", Operator: "orbit-mobile", Price: 500, Days: 7, AmountMB: 1024},
		{ID: "eurolink-30days-5gb", Operator: "eurolink", Price: 2000, Days: 30, AmountMB: 5120},
		{ID: "eurolink-30days-5gb-topup-20230114090000", Kind: KindTopup, Operator: "eurolink", Price: 2000, Days: 30, AmountMB: 5120},
		{ID: "discover-world-365days-20gb", Operator: "discover", Price: 6900, Days: 365, AmountMB: 20480, Voice: new(200), Text: new(200)},
		{ID: "discover-world-365days-20gb-topup", Kind: KindTopup, Operator: "discover", Price: 6600, Days: 365, AmountMB: 20480, Voice: new(200), Text: new(200)},
	}
}

// catalogue holds the packages on sale. Its methods want the simulator's lock;
// a *Package in it is never changed, except for the stock it counts down.
type catalogue struct {
	byID  map[string]*Package
	order []string
}

func (c *catalogue) add(p Package) {
	if _, ok := c.byID[p.ID]; !ok {
		c.order = append(c.order, p.ID)
	}
	c.byID[p.ID] = &p
}

// of lists the visible packages of an operator, in the order they were added.
func (c *catalogue) of(operator string, kind Kind) []*Package {
	var list []*Package
	for _, id := range c.order {
		if p := c.byID[id]; p.Operator == operator && p.Kind == kind && !p.Hidden {
			list = append(list, p)
		}
	}
	return list
}

func (c *catalogue) all() []Package {
	list := make([]Package, 0, len(c.byID))
	for _, p := range c.byID {
		cp := *p
		if p.Stock != nil {
			cp.Stock = new(*p.Stock)
		}
		list = append(list, cp)
	}
	slices.SortFunc(list, func(a, b Package) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// offered tells whether the region's operators have anything a filter asks for.
func (o *operator) offered(kind, country string) bool {
	switch kind {
	case "local":
		if o.Global {
			return false
		}
	case "global":
		if !o.Global {
			return false
		}
	}
	return country == "" || strings.EqualFold(o.Region.code, country)
}
