package pressonesim

import "time"

// Config is what a simulator starts with. The zero value of each field is a
// useful default.
type Config struct {
	// Addr is where Start listens ("127.0.0.1:0").
	Addr string
	// Prefix of the API's paths ("/customer/v2").
	Prefix string
	// ClientID and ClientSecret buy a token ("client", "secret").
	ClientID     string
	ClientSecret string
	// Balance of the account ($1,000,000). For an empty one use SetBalance.
	Balance Cents
	// FirstOrderID is the id of the first order (9666).
	FirstOrderID int
	// Packages are added to the catalogue, or replace what it has.
	Packages []Package
	// Sims are added to those of DefaultICCIDs, or replace them.
	Sims []ESIM
	// Brands are the values that brand_settings_name may have (none).
	Brands []string
	// Knobs and Chaos can be changed later.
	Knobs  Knobs
	Faults []Fault
	Chaos  Chaos
	// Now is the simulator's clock (time.Now). Delays are real time.
	Now func() time.Time
}

func (c Config) filled() Config {
	orDefault(&c.Addr, "127.0.0.1:0")
	orDefault(&c.Prefix, "/customer/v2")
	orDefault(&c.ClientID, "client")
	orDefault(&c.ClientSecret, "secret")
	orDefault(&c.Balance, 1_000_000_00)
	orDefault(&c.FirstOrderID, 9666)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Validate reports the first knob, chaos or fault in c that means nothing.
func (c Config) Validate() error {
	if err := c.Knobs.Validate(); err != nil {
		return err
	}
	if err := c.Chaos.Validate(); err != nil {
		return err
	}
	for _, f := range c.Faults {
		if err := f.Validate(); err != nil {
			return err
		}
	}
	return nil
}
