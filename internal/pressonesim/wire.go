package pressonesim

import "time"

// The wire structs are this package's own reading of the contract, sections 4
// to 11. Fields of type any are those whose JSON type wavers (section 13).

type envelope struct {
	Data any      `json:"data"`
	Meta wireMeta `json:"meta"`
}

type bare struct {
	Data any `json:"data"`
}

type wireMeta struct {
	Message string `json:"message"`
}

type wirePage struct {
	Data    any          `json:"data"`
	Links   wireLinks    `json:"links"`
	Meta    wirePageMeta `json:"meta"`
	Pricing *wirePricing `json:"pricing,omitempty"`
}

type wireLinks struct {
	First string  `json:"first"`
	Last  string  `json:"last"`
	Prev  *string `json:"prev"`
	Next  *string `json:"next"`
}

type wirePageMeta struct {
	Message     string `json:"message"`
	CurrentPage int    `json:"current_page"`
	From        *int   `json:"from"`
	LastPage    int    `json:"last_page"`
	Path        string `json:"path"`
	PerPage     any    `json:"per_page"`
	To          *int   `json:"to"`
	Total       int    `json:"total"`
}

type wirePricing struct {
	Model              string `json:"model"`
	DiscountPercentage int    `json:"discount_percentage"`
}

type wireToken struct {
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	AccessToken string `json:"access_token"`
}

type wireBalances struct {
	Balances any `json:"balances"`
}

type wireBalance struct {
	Name             string     `json:"name"`
	AvailableBalance wireAmount `json:"availableBalance"`
}

type wireAmount struct {
	Amount   any    `json:"amount"`
	Currency string `json:"currency"`
}

type wireOrder struct {
	ID                 int               `json:"id"`
	Code               string            `json:"code"`
	Currency           string            `json:"currency"`
	PackageID          string            `json:"package_id"`
	Quantity           any               `json:"quantity"`
	Type               Kind              `json:"type"`
	Description        *string           `json:"description"`
	EsimType           string            `json:"esim_type"`
	Validity           any               `json:"validity"`
	Package            string            `json:"package"`
	Data               string            `json:"data"`
	Price              any               `json:"price"`
	NetPrice           any               `json:"net_price,omitempty"`
	PricingModel       string            `json:"pricing_model"`
	CreatedAt          string            `json:"created_at"`
	ManualInstallation string            `json:"manual_installation"`
	QRInstallation     string            `json:"qrcode_installation"`
	InstallationGuides map[string]string `json:"installation_guides"`
	Text               *int              `json:"text"`
	Voice              *int              `json:"voice"`
	BrandSettingsName  *string           `json:"brand_settings_name"`
	Sims               *[]wireSim        `json:"sims,omitempty"`
	Status             *wireStatus       `json:"status,omitempty"`
	User               *wireUser         `json:"user,omitempty"`
	Sharing            *wireSharing      `json:"sharing,omitempty"`
}

type wireStatus struct {
	Name string      `json:"name"`
	Slug OrderStatus `json:"slug"`
}

type wireUser struct {
	ID         int     `json:"id"`
	CreatedAt  string  `json:"created_at"`
	Name       string  `json:"name"`
	Email      string  `json:"email"`
	Mobile     *string `json:"mobile"`
	Address    *string `json:"address"`
	State      *string `json:"state"`
	City       *string `json:"city"`
	PostalCode *string `json:"postal_code"`
	CountryID  *int    `json:"country_id"`
	Company    string  `json:"company"`
}

type wireSharing struct {
	Link       string `json:"link"`
	AccessCode string `json:"access_code"`
}

type wireSim struct {
	ID               int      `json:"id"`
	CreatedAt        string   `json:"created_at"`
	ICCID            string   `json:"iccid"`
	LPA              string   `json:"lpa"`
	IMSIs            *string  `json:"imsis"`
	MatchingID       string   `json:"matching_id"`
	QRCode           string   `json:"qrcode"`
	QRCodeURL        string   `json:"qrcode_url"`
	AppleURL         string   `json:"direct_apple_installation_url"`
	AiraloCode       *string  `json:"airalo_code"`
	APNType          string   `json:"apn_type"`
	APNValue         *string  `json:"apn_value"`
	IsRoaming        *bool    `json:"is_roaming"`
	ConfirmationCode *string  `json:"confirmation_code"`
	APN              *wireAPN `json:"apn,omitempty"`
	MSISDN           *string  `json:"msisdn"`
}

type wireAPN struct {
	IOS     wireOneAPN `json:"ios"`
	Android wireOneAPN `json:"android"`
}

type wireOneAPN struct {
	APNType  string  `json:"apn_type"`
	APNValue *string `json:"apn_value"`
}

// wireFullSim is an eSIM read by itself.
type wireFullSim struct {
	wireSim
	VoucherCode       *string    `json:"voucher_code"`
	Order             *int       `json:"order"` // always null
	BrandSettingsName *string    `json:"brand_settings_name"`
	Recycled          bool       `json:"recycled"`
	RecycledAt        *string    `json:"recycled_at"`
	Simable           *wireOrder `json:"simable"`
}

type wireUsage struct {
	Remaining      int       `json:"remaining"`
	Total          int       `json:"total"`
	ExpiredAt      *string   `json:"expired_at"`
	IsUnlimited    *bool     `json:"is_unlimited"`
	Status         SimStatus `json:"status"`
	RemainingVoice int       `json:"remaining_voice"`
	RemainingText  int       `json:"remaining_text"`
	TotalVoice     int       `json:"total_voice"`
	TotalText      int       `json:"total_text"`
}

type wirePlan struct {
	ID          int             `json:"id"`
	Status      SimStatus       `json:"status"`
	Remaining   int             `json:"remaining"`
	ActivatedAt *string         `json:"activated_at"`
	ExpiredAt   *string         `json:"expired_at"`
	FinishedAt  *string         `json:"finished_at"`
	Package     wirePlanPackage `json:"package"`
}

type wirePlanPackage struct {
	ID          string  `json:"id"`
	Type        Kind    `json:"type"`
	Price       any     `json:"price"`
	NetPrice    any     `json:"net_price,omitempty"`
	Amount      int     `json:"amount"`
	Day         int     `json:"day"`
	IsUnlimited bool    `json:"is_unlimited"`
	Title       string  `json:"title"`
	Data        string  `json:"data"`
	ShortInfo   *string `json:"short_info"`
	Voice       *int    `json:"voice"`
	Text        *int    `json:"text"`
}

type wireCountry struct {
	Slug        string         `json:"slug"`
	CountryCode string         `json:"country_code"`
	Title       string         `json:"title"`
	Image       wireImage      `json:"image"`
	Operators   []wireOperator `json:"operators"`
}

type wireImage struct {
	Width  int    `json:"width"`
	Height int    `json:"height"`
	URL    string `json:"url"`
}

type wireOperator struct {
	ID               int            `json:"id"`
	Style            string         `json:"style"`
	GradientStart    string         `json:"gradient_start"`
	GradientEnd      string         `json:"gradient_end"`
	Type             string         `json:"type"`
	IsPrepaid        bool           `json:"is_prepaid"`
	Title            string         `json:"title"`
	EsimType         string         `json:"esim_type"`
	Warning          *string        `json:"warning"`
	APNType          string         `json:"apn_type"`
	APNValue         *string        `json:"apn_value"`
	IsRoaming        bool           `json:"is_roaming"`
	Info             []string       `json:"info"`
	Image            wireImage      `json:"image"`
	PlanType         string         `json:"plan_type"`
	ActivationPolicy string         `json:"activation_policy"`
	IsKYCVerify      bool           `json:"is_kyc_verify"`
	Rechargeability  bool           `json:"rechargeability"`
	OtherInfo        *string        `json:"other_info"`
	Coverages        []wireCoverage `json:"coverages"`
	InstallDays      *int           `json:"install_window_days"`
	GraceDays        *int           `json:"topup_grace_window_days"`
	APN              wireAPN        `json:"apn"`
	Packages         []wirePackage  `json:"packages"`
	Countries        []wireNation   `json:"countries"`
}

type wireCoverage struct {
	Name     string        `json:"name"`
	Code     string        `json:"code"`
	Networks []wireNetwork `json:"networks"`
}

type wireNetwork struct {
	Name  string   `json:"name"`
	Types []string `json:"types"`
}

type wireNation struct {
	CountryCode string    `json:"country_code"`
	Title       string    `json:"title"`
	Image       wireImage `json:"image"`
}

type wirePackage struct {
	wirePlanPackage
	QRInstallation     string     `json:"qr_installation"`
	ManualInstallation string     `json:"manual_installation"`
	IsFairUsagePolicy  *bool      `json:"is_fair_usage_policy"`
	FairUsagePolicy    *string    `json:"fair_usage_policy"`
	Prices             wirePrices `json:"prices"`
}

type wirePrices struct {
	NetPrice               map[string]float64 `json:"net_price"`
	RecommendedRetailPrice map[string]float64 `json:"recommended_retail_price"`
}

// stamp is how orders, eSIMs and usage print a time; UTC, though PressOne does
// not say so.
func stamp(t time.Time) string {
	return t.UTC().Format("2006-01-02 15:04:05")
}

// isoStamp is how package history prints a time.
func isoStamp(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05-07:00")
}
