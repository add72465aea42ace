package pressonesim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Style names one of the error bodies of section 3.1 of the contract.
type Style string

// The error bodies. E5 and E6 are not a choice: E5 belongs to a call that
// PressOne lacks, E6 is what gateways answer.
const (
	E1 Style = "e1" // {"code":34,"reason":"…"}
	E2 Style = "e2" // {"data":{"field":"…"},"meta":{…}}
	E3 Style = "e3" // {"data":[],"meta":{"message":"…"}}
	E4 Style = "e4" // {"message":"Too Many Attempts."}
)

// Rendering says which of the types seen in the wild a field gets (section 13).
type Rendering string

// The renderings.
const (
	Documented Rendering = "documented" // per endpoint, as the examples show it
	Numbers    Rendering = "numbers"    // a number wherever one may occur
	Strings    Rendering = "strings"    // a string wherever one may occur
	Mixed      Rendering = "mixed"      // changes from field to field and answer to answer
)

// Keeping says what becomes of a description.
type Keeping string

// What PressOne may do with a description.
const (
	Kept     Keeping = "kept"
	Replaced Keeping = "replaced" // by "Topup (<iccid>)"; top-ups only
	Nulled   Keeping = "nulled"
)

// NotReady says how an eSIM looks before its ReadyAfter has passed.
type NotReady string

// The looks of an eSIM that is not ready.
const (
	NotFound NotReady = "not_found" // 404, and missing from the order's sims
	NoQRCode NotReady = "no_qrcode" // there, with empty lpa, matching_id and qrcode
	Partial  NotReady = "partial"   // only the last unit of the order is missing
)

// Knobs are the decisions that PressOne's documentation leaves open, or may
// change. The zero value of each field is its default, given in parentheses.
type Knobs struct {
	// ValidationStatus is the status of E2 answers: 400 or (422).
	ValidationStatus int `json:"validation_status"`
	// OutOfCredit is (422) with code 11, or 402 with code 4007.
	OutOfCredit int `json:"out_of_credit"`
	// BadPackage is (E1) with code 34, or E2 naming package_id.
	BadPackage Style `json:"bad_package"`
	// OutOfStock is (E1) with code 33, or E2 naming quantity.
	OutOfStock Style `json:"out_of_stock"`
	// RateLimited is (E4), or E1 with code 4004.
	RateLimited Style `json:"rate_limited"`
	// NoRetryAfter leaves the Retry-After header out of 429 answers (false).
	NoRetryAfter bool `json:"no_retry_after"`
	// Unauthorized is (E1) with code 4009, 4013 or 4014, or E3.
	Unauthorized Style `json:"unauthorized"`
	// UnknownOrder is the status for an order id nobody knows: (401) E3, or 404 E3.
	UnknownOrder int `json:"unknown_order"`
	// CodesAsStrings renders error codes as "34" (false).
	CodesAsStrings bool `json:"codes_as_strings"`
	// Rendering chooses between numbers and strings (Documented).
	Rendering Rendering `json:"rendering"`
	// RenderingSeed makes Mixed reproducible.
	RenderingSeed uint64 `json:"rendering_seed"`

	// Limits holds a limit for each endpoint; usage and history count for each
	// ICCID. Endpoints not named keep the documented limit: token 5/min,
	// packages 40/min, usage 100/min, history 1/15min, the rest none. An entry
	// with zero requests lifts a limit.
	Limits map[Endpoint]Limit `json:"limits"`
	// AccountLimit is for all calls but token together (none).
	AccountLimit Limit `json:"account_limit"`

	// ExpiresIn is what the token answer says, in seconds (31622400, a year).
	ExpiresIn int `json:"expires_in"`
	// TokenLife is how long a token really lives (24h).
	TokenLife time.Duration `json:"token_life"`

	// OrderDescription is (Kept) or Nulled.
	OrderDescription Keeping `json:"order_description"`
	// TopupDescription is (Kept), Replaced or Nulled.
	TopupDescription Keeping `json:"topup_description"`
	// TopupSims makes top-up orders carry the eSIM in sims (false).
	TopupSims bool `json:"topup_sims"`
	// TopupMatchesICCID lets filter[iccid] find top-up orders (false).
	TopupMatchesICCID bool `json:"topup_matches_iccid"`
	// LikeCaseSensitive makes list filters heed case (false).
	LikeCaseSensitive bool `json:"like_case_sensitive"`
	// LikeEscaped takes % and _ in filter values literally (false: wildcards).
	LikeEscaped bool `json:"like_escaped"`
	// ListLag is how long after its sale an order appears in the list (0).
	ListLag time.Duration `json:"list_lag"`
	// OrderLag is how long after its sale GET orders/{id} knows it (0).
	OrderLag time.Duration `json:"order_lag"`
	// FailedRows makes a failed attempt leave an order with status failed (false).
	FailedRows bool `json:"failed_rows"`
	// MaxPageSize caps limit without saying so (1000).
	MaxPageSize int `json:"max_page_size"`
	// TotalPrice makes an order's price the sum for all units (false: of one).
	TotalPrice bool `json:"total_price"`

	// EmptyBalances answers balance with "balances": [] (false).
	EmptyBalances bool `json:"empty_balances"`
	// PackagesAsObject gives packages from page 2 on as an object keyed by
	// index instead of an array (false).
	PackagesAsObject bool `json:"packages_as_object"`

	// ReadyAfter is how long after the sale an order is completed and its eSIMs
	// can be installed, or its top-up used (0).
	ReadyAfter time.Duration `json:"ready_after"`
	// NotReadyAs is how eSIMs look until then (NotFound).
	NotReadyAs NotReady `json:"not_ready_as"`
	// AnswerWithoutSims makes answers to POST orders lack sims (false).
	AnswerWithoutSims bool `json:"answer_without_sims"`

	// UsageAge is how long a usage answer is repeated (20m; negative: never).
	UsageAge time.Duration `json:"usage_age"`

	// Latency passes before each answer, after the effect (0).
	Latency time.Duration `json:"latency"`
	// Latencies overrides Latency for single endpoints.
	Latencies map[Endpoint]time.Duration `json:"latencies"`
}

func defaultLimits() map[Endpoint]Limit {
	return map[Endpoint]Limit{
		Token:    {5, time.Minute},
		Packages: {40, time.Minute},
		Usage:    {100, time.Minute},
		History:  {1, 15 * time.Minute},
	}
}

func orDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// filled returns a copy that shares nothing with k, with defaults in place.
func (k Knobs) filled() Knobs {
	orDefault(&k.ValidationStatus, http.StatusUnprocessableEntity)
	orDefault(&k.OutOfCredit, http.StatusUnprocessableEntity)
	orDefault(&k.BadPackage, E1)
	orDefault(&k.OutOfStock, E1)
	orDefault(&k.RateLimited, E4)
	orDefault(&k.Unauthorized, E1)
	orDefault(&k.UnknownOrder, http.StatusUnauthorized)
	orDefault(&k.Rendering, Documented)
	orDefault(&k.ExpiresIn, 31622400)
	orDefault(&k.TokenLife, 24*time.Hour)
	orDefault(&k.OrderDescription, Kept)
	orDefault(&k.TopupDescription, Kept)
	orDefault(&k.MaxPageSize, 1000)
	orDefault(&k.NotReadyAs, NotFound)
	orDefault(&k.UsageAge, 20*time.Minute)
	limits := defaultLimits()
	maps.Copy(limits, k.Limits)
	k.Limits = limits
	k.Latencies = maps.Clone(k.Latencies)
	return k
}

// Validate reports the first knob with a value that means nothing.
func (k Knobs) Validate() error {
	k = k.filled()
	checks := []struct {
		name  string
		value any
		known bool
	}{
		{"validation_status", k.ValidationStatus, k.ValidationStatus == 400 || k.ValidationStatus == 422},
		{"out_of_credit", k.OutOfCredit, k.OutOfCredit == 422 || k.OutOfCredit == 402},
		{"bad_package", k.BadPackage, k.BadPackage == E1 || k.BadPackage == E2},
		{"out_of_stock", k.OutOfStock, k.OutOfStock == E1 || k.OutOfStock == E2},
		{"rate_limited", k.RateLimited, k.RateLimited == E4 || k.RateLimited == E1},
		{"unauthorized", k.Unauthorized, k.Unauthorized == E1 || k.Unauthorized == E3},
		{"unknown_order", k.UnknownOrder, k.UnknownOrder == 401 || k.UnknownOrder == 404},
		{"rendering", k.Rendering, slices.Contains([]Rendering{Documented, Numbers, Strings, Mixed}, k.Rendering)},
		{"order_description", k.OrderDescription, k.OrderDescription == Kept || k.OrderDescription == Nulled},
		{"topup_description", k.TopupDescription, slices.Contains([]Keeping{Kept, Replaced, Nulled}, k.TopupDescription)},
		{"not_ready_as", k.NotReadyAs, slices.Contains([]NotReady{NotFound, NoQRCode, Partial}, k.NotReadyAs)},
		{"max_page_size", k.MaxPageSize, k.MaxPageSize > 0},
	}
	for _, c := range checks {
		if !c.known {
			return fmt.Errorf("pressonesim: knob %s: no such value %v", c.name, c.value)
		}
	}
	for e, l := range k.Limits {
		if !e.known() || l.Requests > 0 && l.Window <= 0 {
			return fmt.Errorf("pressonesim: knob limits: %q with %d requests in %s", e, l.Requests, l.Window)
		}
	}
	for e := range k.Latencies {
		if !e.known() {
			return fmt.Errorf("pressonesim: knob latencies: no endpoint %q", e)
		}
	}
	if k.AccountLimit.Requests > 0 && k.AccountLimit.Window <= 0 {
		return fmt.Errorf("pressonesim: knob account_limit: window %s", k.AccountLimit.Window)
	}
	return nil
}

func (k *Knobs) latency(e Endpoint) time.Duration {
	if d, ok := k.Latencies[e]; ok {
		return d
	}
	return k.Latency
}
