package deadletter

import (
	"cmp"
	"context"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// Preview says what a replay of the letters that f chooses would do. Nothing is changed.
func (d *Desk) Preview(ctx context.Context, f Filter) (Preview, error) {
	set, err := d.candidates(ctx, f)
	if err != nil {
		return Preview{}, err
	}
	d.price(ctx, set)
	return preview(set), nil
}

// preview sums up a set.
func preview(set []candidate) Preview {
	p := Preview{Letters: len(set), Cost: []Money{}, Set: make([]PreviewLetter, 0, len(set))}
	cost := map[string]*big.Rat{}
	codes, classes, packages := map[string]*Tally{}, map[string]*Tally{}, map[string]*Tally{}
	for _, c := range set {
		l := PreviewLetter{
			Result: Result{
				ID: c.ID, SagaID: c.SagaID, Kind: c.Kind, RequestID: c.RequestID, PackageID: c.PackageID, Code: c.Code, Why: c.why,
			},
			Class: c.Class, Purchased: c.Purchased, Price: c.price.text(), Currency: c.price.currency,
		}
		if c.why == "" {
			p.Willing++
			l.To = destination(c.letter())
			switch {
			case !c.buys():
			case c.price.amount == nil:
				p.Unpriced++
			default:
				sum := cost[c.price.currency]
				if sum == nil {
					sum = new(big.Rat)
					cost[c.price.currency] = sum
				}
				sum.Add(sum, c.price.amount)
			}
		}
		for _, t := range []struct {
			all  map[string]*Tally
			name string
		}{{codes, c.Code}, {classes, c.Class}, {packages, c.PackageID}} {
			tally(t.all, t.name, c.why != "")
		}
		p.Set = append(p.Set, l)
	}
	p.Refused = p.Letters - p.Willing
	for _, currency := range slices.Sorted(maps.Keys(cost)) {
		p.Cost = append(p.Cost, Money{Amount: decimal(cost[currency]), Currency: currency})
	}
	p.Codes, p.Classes, p.Packages = tallies(codes), tallies(classes), tallies(packages)
	return p
}

func tally(all map[string]*Tally, name string, refused bool) {
	t := all[name]
	if t == nil {
		t = &Tally{Name: name}
		all[name] = t
	}
	t.Letters++
	if refused {
		t.Refused++
	}
}

func tallies(all map[string]*Tally) []Tally {
	list := make([]Tally, 0, len(all))
	for _, t := range all {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(b.Letters, a.Letters), strings.Compare(a.Name, b.Name))
	})
	return list
}
