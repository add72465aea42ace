package pressone

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	json "github.com/go-json-experiment/json/v1"
)

// Package is something that can be bought: an eSIM with data, or a top-up.
type Package struct {
	ID          string  `json:"id"`
	Type        string  `json:"type"` // sim or topup; the id does not tell
	Title       string  `json:"title"`
	Price       Decimal `json:"price"`
	NetPrice    Decimal `json:"net_price,omitempty"`
	Amount      *int64  `json:"amount"` // MB; meaningless when unlimited
	Days        *int64  `json:"day"`
	IsUnlimited bool    `json:"is_unlimited"`
	Data        string  `json:"data"` // "1 GB"
	ShortInfo   string  `json:"short_info,omitempty"`
	Voice       *int64  `json:"voice,omitempty"` // minutes
	Text        *int64  `json:"text,omitempty"`  // messages
}

// UnmarshalJSON reads it as PressOne writes it. It fails without an id: that is what is ordered.
func (p *Package) UnmarshalJSON(raw []byte) error {
	var wire struct {
		ID          text    `json:"id"`
		Type        text    `json:"type"`
		Title       text    `json:"title"`
		Price       Decimal `json:"price"`
		NetPrice    Decimal `json:"net_price"`
		Amount      integer `json:"amount"`
		Days        integer `json:"day"`
		IsUnlimited boolean `json:"is_unlimited"`
		Data        text    `json:"data"`
		ShortInfo   text    `json:"short_info"`
		Voice       integer `json:"voice"`
		Text        integer `json:"text"`
	}
	if json.Unmarshal(raw, &wire) != nil || wire.ID == "" {
		return fmt.Errorf("%w: package", ErrUnreadable)
	}
	*p = Package{
		ID: string(wire.ID), Type: string(wire.Type), Title: string(wire.Title), Price: wire.Price, NetPrice: wire.NetPrice,
		Amount: wire.Amount.pointer(), Days: wire.Days.pointer(), IsUnlimited: wire.IsUnlimited.is(), Data: string(wire.Data),
		ShortInfo: string(wire.ShortInfo), Voice: wire.Voice.pointer(), Text: wire.Text.pointer(),
	}
	return nil
}

// Region is a country, or a group of them, and who serves it.
type Region struct {
	Slug        string
	CountryCode string // ISO 3166 alpha-2; "" for groups
	Title       string
	Operators   []Operator
}

// Operator serves a region with packages.
type Operator struct {
	ID               int64
	Title            string
	Type             string // local or global
	PlanType         string // data, data-voice-text
	ActivationPolicy string
	Rechargeable     bool // false: no top-ups
	Packages         []Package
}

// PackageFilter selects packages. An empty field does not filter.
type PackageFilter struct {
	Type    string // local or global (which includes regional)
	Country string // ISO 3166 alpha-2; with local
	Topups  bool   // top-up packages too
}

// Packages returns the catalogue: all of what the filter selects, or an error. PressOne advises to read it once an hour.
func (c *Client) Packages(ctx context.Context, f PackageFilter) ([]Region, error) {
	values := url.Values{}
	if f.Type != "" {
		values.Set("filter[type]", f.Type)
	}
	if f.Country != "" {
		values.Set("filter[country]", f.Country)
	}
	if f.Topups {
		values.Set("include", "topup")
	}
	return collect(paged(ctx, c, query{op: OpListPackages, path: "/packages", values: values}, decodeRegion))
}

func decodeRegion(raw json.RawMessage) (string, Region, error) {
	var wire struct {
		Slug        text            `json:"slug"`
		CountryCode text            `json:"country_code"`
		Title       text            `json:"title"`
		Operators   json.RawMessage `json:"operators"`
	}
	if json.Unmarshal(raw, &wire) != nil || wire.Slug == "" {
		return "", Region{}, fmt.Errorf("%w: region", ErrUnreadable)
	}
	region := Region{Slug: string(wire.Slug), CountryCode: string(wire.CountryCode), Title: string(wire.Title)}
	list, _ := elements(wire.Operators)
	for _, element := range list {
		operator, err := decodeOperator(element)
		if err != nil {
			return "", Region{}, err
		}
		region.Operators = append(region.Operators, operator)
	}
	var key strings.Builder // not the slug alone: a region may go on on the next page, with other operators
	key.WriteString(region.Slug)
	for _, operator := range region.Operators {
		key.WriteString("|" + strconv.FormatInt(operator.ID, 10))
	}
	return key.String(), region, nil
}

func decodeOperator(raw json.RawMessage) (Operator, error) {
	var wire struct {
		ID               integer         `json:"id"`
		Title            text            `json:"title"`
		Type             text            `json:"type"`
		PlanType         text            `json:"plan_type"`
		ActivationPolicy text            `json:"activation_policy"`
		Rechargeability  boolean         `json:"rechargeability"`
		Packages         json.RawMessage `json:"packages"`
	}
	if json.Unmarshal(raw, &wire) != nil {
		return Operator{}, fmt.Errorf("%w: operator", ErrUnreadable)
	}
	operator := Operator{
		ID: wire.ID.value, Title: string(wire.Title), Type: string(wire.Type), PlanType: string(wire.PlanType),
		ActivationPolicy: string(wire.ActivationPolicy), Rechargeable: wire.Rechargeability.is(),
	}
	list, _ := elements(wire.Packages)
	for _, element := range list {
		var p Package
		if err := json.Unmarshal(element, &p); err != nil {
			return Operator{}, fmt.Errorf("%w: package of an operator", ErrUnreadable)
		}
		operator.Packages = append(operator.Packages, p)
	}
	return operator, nil
}

// Device is one that can use eSIMs.
type Device struct {
	OS    string
	Brand string
	Name  string
}

// CompatibleDevices returns the devices that can use eSIMs, each once.
func (c *Client) CompatibleDevices(ctx context.Context) ([]Device, error) {
	type wire struct {
		OS    text `json:"os"`
		Brand text `json:"brand"`
		Name  text `json:"name"`
	}
	list, err := getList[wire](ctx, c, query{op: OpCompatibleDevices, path: "/compatible-devices-lite"})
	if err != nil {
		return nil, err
	}
	seen := make(map[Device]bool, len(list))
	var devices []Device
	for _, w := range list {
		d := Device{OS: string(w.OS), Brand: string(w.Brand), Name: string(w.Name)}
		if !seen[d] {
			seen[d] = true
			devices = append(devices, d)
		}
	}
	return devices, nil
}

// Balance is what the account has left.
type Balance struct {
	Known    bool // false: PressOne shows no balance for this account, as with post-paid ones
	Amount   Decimal
	Currency string
}

// Balance returns the account's balance. PressOne serves it as text/plain; it is JSON.
func (c *Client) Balance(ctx context.Context) (Balance, error) {
	q := query{op: OpGetBalance, path: "/balance"}
	a, err := c.get(ctx, q)
	if err != nil {
		return Balance{}, err
	}
	b, err := readBalance(a.body)
	if err != nil {
		return Balance{}, c.finish(q.op, unreadable(a, err))
	}
	return b, nil
}

// readBalance reads {"data":{"balances":{"availableBalance":{"amount":…,"currency":…}}}}, where data or balances may be an
// empty array when there is no account.
func readBalance(body []byte) (Balance, error) {
	var env envelope
	if json.Unmarshal(body, &env) != nil {
		return Balance{}, ErrUnreadable
	}
	if list, ok := elements(env.Data); ok && len(list) == 0 {
		return Balance{}, nil
	}
	var data struct {
		Balances json.RawMessage `json:"balances"`
	}
	if json.Unmarshal(env.Data, &data) != nil {
		return Balance{}, ErrUnreadable
	}
	if nothing(data.Balances) && len(data.Balances) > 0 {
		return Balance{}, nil
	}
	var balances struct {
		Available struct {
			Amount   Decimal `json:"amount"`
			Currency text    `json:"currency"`
		} `json:"availableBalance"`
	}
	if len(data.Balances) == 0 || json.Unmarshal(data.Balances, &balances) != nil || balances.Available.Amount == "" {
		return Balance{}, fmt.Errorf("%w: no balance", ErrUnreadable)
	}
	return Balance{Known: true, Amount: balances.Available.Amount, Currency: string(balances.Available.Currency)}, nil
}
