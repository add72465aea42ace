package pressonesim

import (
	"net/http"
	"slices"
	"strings"
)

// Endpoint names one of PressOne's calls, for limits, faults and counters.
type Endpoint string

// The endpoints of the customer API. Any matches every one of them.
const (
	Any          Endpoint = ""
	Token        Endpoint = "token"        // POST token
	GetBalance   Endpoint = "balance"      // GET  balance
	Packages     Endpoint = "packages"     // GET  packages
	Orders       Endpoint = "orders"       // POST orders
	Topups       Endpoint = "topups"       // POST orders/topups
	OrderList    Endpoint = "order_list"   // GET  orders
	OneOrder     Endpoint = "order"        // GET  orders/{id}
	SimList      Endpoint = "sim_list"     // GET  sims
	OneSim       Endpoint = "sim"          // GET  sims/{iccid}
	Usage        Endpoint = "usage"        // GET  sims/{iccid}/usage
	History      Endpoint = "history"      // GET  sims/{iccid}/packages
	TopupList    Endpoint = "topup_list"   // GET  sims/{iccid}/topups
	Instructions Endpoint = "instructions" // GET  sims/{iccid}/instructions
	Devices      Endpoint = "devices"      // GET  compatible-devices-lite
)

var endpoints = []Endpoint{
	Token, GetBalance, Packages, Orders, Topups, OrderList, OneOrder, SimList, OneSim,
	Usage, History, TopupList, Instructions, Devices,
}

func (e Endpoint) known() bool {
	return slices.Contains(endpoints, e)
}

// buys tells the calls that create and charge an order.
func (e Endpoint) buys() bool {
	return e == Orders || e == Topups
}

// perICCID tells the calls whose limit is counted for each eSIM (section 3.4).
func (e Endpoint) perICCID() bool {
	return e == Usage || e == History
}

// route finds the endpoint of a path below the prefix, and the id in it. An
// unknown path gives Any; a known path with another method gives Any and
// known=true. An empty ICCID or order id is the list, as observed (section 2).
func route(method, path string) (e Endpoint, id string, known bool) {
	path = strings.TrimPrefix(path, "/")
	head, rest, _ := strings.Cut(path, "/")
	rest = strings.TrimSuffix(rest, "/")
	want := http.MethodGet
	switch {
	case head == "token" && rest == "":
		e, want = Token, http.MethodPost
	case head == "balance" && rest == "":
		e = GetBalance
	case head == "packages" && rest == "":
		e = Packages
	case head == "compatible-devices-lite" && rest == "":
		e = Devices
	case head == "orders" && rest == "topups":
		e, want = Topups, http.MethodPost
	case head == "orders" && rest == "" && method == http.MethodPost:
		e, want = Orders, http.MethodPost
	case head == "orders" && rest == "":
		e = OrderList
	case head == "orders" && !strings.Contains(rest, "/"):
		e, id = OneOrder, rest
	case head == "sims":
		e, id = routeSim(rest)
	}
	if e == Any {
		return Any, "", false
	}
	if method != want && (method != http.MethodHead || want != http.MethodGet) {
		return Any, "", true
	}
	return e, id, true
}

func routeSim(rest string) (Endpoint, string) {
	iccid, part, nested := strings.Cut(rest, "/")
	switch {
	case rest == "":
		return SimList, ""
	case !nested:
		return OneSim, iccid
	case iccid == "":
		return Any, ""
	case part == "usage":
		return Usage, iccid
	case part == "packages":
		return History, iccid
	case part == "topups":
		return TopupList, iccid
	case part == "instructions":
		return Instructions, iccid
	}
	return Any, ""
}
