package pressonesim

import (
	"strconv"
)

// getBalance is JSON that says it is text (section 5).
func (s *Sim) getBalance(c *call) *reply {
	w := wireBalances{Balances: wireBalance{
		Name:             "balance",
		AvailableBalance: wireAmount{Amount: c.render.money(s.Balance(), asNumber), Currency: "USD"},
	}}
	if c.knobs.EmptyBalances {
		w.Balances = []any{}
	}
	rp := c.ok(w)
	rp.contentType = "text/plain; charset=UTF-8"
	return rp
}

// getPackages lists regions with their operators and packages. Operators
// without a visible package are left out, and regions without an operator.
func (s *Sim) getPackages(c *call) *reply {
	p, rp := c.paging(25)
	if rp != nil {
		return rp
	}
	kind, country := c.query.Get("filter[type]"), c.query.Get("filter[country]")
	if kind != "" && kind != "local" && kind != "global" {
		return c.e2("filter.type", "The selected filter.type is invalid.")
	}
	topups := c.query.Get("include") == "topup"
	s.mu.RLock()
	defer s.mu.RUnlock()
	data := []wireCountry{}
	for _, o := range operators {
		if !o.offered(kind, country) {
			continue
		}
		packages := s.catalogue.of(o.Name, KindSim)
		if len(packages) == 0 || !p.count() {
			continue
		}
		if topups {
			packages = append(packages, s.catalogue.of(o.Name, KindTopup)...)
		}
		data = append(data, wireCountry{
			Slug: o.Region.slug, CountryCode: o.Region.code, Title: o.Region.title, Image: image(o.Region.slug),
			Operators: []wireOperator{c.renderOperator(o, packages)},
		})
	}
	if c.knobs.PackagesAsObject && p.page > 1 {
		indexed := make(map[string]wireCountry, len(data))
		for i, country := range data {
			indexed[strconv.Itoa((p.page-1)*p.limit+i)] = country
		}
		return c.page(p, indexed, len(data))
	}
	return c.page(p, data, len(data))
}

func (c *call) renderOperator(o *operator, packages []*Package) wireOperator {
	apn := c.render.apn(o.APNValue)
	one := wireOneAPN{APNType: o.APNType, APNValue: apn}
	w := wireOperator{
		ID: o.ID, Style: "light", GradientStart: "#0f2027", GradientEnd: "#2c5364", Type: "local", IsPrepaid: false,
		Title: o.Title, EsimType: "Prepaid", APNType: o.APNType, APNValue: apn, IsRoaming: o.Roaming,
		Info: []string{"Data works on arrival."}, Image: image(o.Name), PlanType: o.PlanType,
		ActivationPolicy: "first-usage", Rechargeability: o.Rechargeable,
		InstallDays: o.InstallDays, GraceDays: o.GraceDays, APN: wireAPN{IOS: one, Android: one},
		Packages: make([]wirePackage, 0, len(packages)),
	}
	if o.Global {
		w.Type = "global"
	}
	for _, r := range o.Coverage {
		w.Coverages = append(w.Coverages, wireCoverage{Name: r.code, Code: r.code, Networks: []wireNetwork{{Name: o.Title, Types: []string{"4G", "5G"}}}})
		w.Countries = append(w.Countries, wireNation{CountryCode: r.code, Title: r.title, Image: image(r.slug)})
	}
	for _, p := range packages {
		w.Packages = append(w.Packages, wirePackage{
			wirePlanPackage: c.renderPlan(p),
			QRInstallation:  "<p>Scan the QR code.</p>", ManualInstallation: "<p>Type in the code.</p>",
			Prices: wirePrices{
				NetPrice:               map[string]float64{"USD": p.NetPrice.dollars()},
				RecommendedRetailPrice: map[string]float64{"USD": p.Price.dollars()},
			},
		})
	}
	return w
}

func image(name string) wireImage {
	return wireImage{Width: 132, Height: 99, URL: "https://cdn.pressone.example/images/" + name + ".png"}
}

type wireDevice struct {
	OS    string `json:"os"`
	Brand string `json:"brand"`
	Name  string `json:"name"`
}

// devices holds a duplicate, as the real list does.
var devices = []wireDevice{
	{"android", "Google", "Pixel 8"},
	{"android", "Samsung", "Galaxy S23"},
	{"android", "Samsung", "Galaxy S23"},
	{"ios", "Apple", "iPhone 15"},
	{"ios", "Apple", "iPad Pro"},
}
