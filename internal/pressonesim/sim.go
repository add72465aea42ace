package pressonesim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Sim is PressOne: a catalogue, an account, and books of what was really sold.
// All its methods may be called at any time from any goroutine.
type Sim struct {
	cfg    Config
	now    func() time.Time
	knobs  atomic.Pointer[Knobs]
	tune   sync.Mutex // one change of knobs at a time
	limits limiter
	faults faults
	dice   dice
	counts counter
	tokens tokens
	secret atomic.Pointer[string]
	mixed  atomic.Uint64 // answers rendered, for Mixed

	mu        sync.RWMutex
	catalogue catalogue
	balance   Cents
	orders    []*order // by id from cfg.FirstOrderID, without gaps
	bySent    map[string][]*order
	sold      int
	cards     map[string]*card
	cardList  []*card
	cardSeq   int
	iccidSeq  int
	planSeq   int
}

// New returns a simulator. It starts no goroutine and opens no socket. It
// panics when cfg is not valid.
func New(cfg Config) *Sim {
	s, err := newSim(cfg)
	if err != nil {
		panic(err)
	}
	return s
}

func newSim(cfg Config) (*Sim, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.filled()
	s := &Sim{
		cfg:       cfg,
		now:       cfg.Now,
		limits:    limiter{windows: make(map[limitKey]*window)},
		counts:    newCounter(),
		tokens:    tokens{issued: make(map[string]token)},
		catalogue: catalogue{byID: make(map[string]*Package)},
		balance:   cfg.Balance,
		bySent:    make(map[string][]*order),
		cards:     make(map[string]*card),
	}
	s.SetClientSecret(cfg.ClientSecret)
	s.SetKnobs(cfg.Knobs)
	s.SetChaos(cfg.Chaos)
	for _, p := range slices.Concat(defaultPackages(), cfg.Packages) {
		if err := s.addPackage(p); err != nil {
			return nil, err
		}
	}
	for _, iccid := range DefaultICCIDs() {
		if err := s.addSim(ESIM{ICCID: iccid, UsedMB: 1281}); err != nil {
			return nil, err
		}
	}
	for _, e := range cfg.Sims {
		if err := s.addSim(e); err != nil {
			return nil, err
		}
	}
	for _, f := range cfg.Faults {
		s.Inject(f)
	}
	return s, nil
}

// Knobs returns the present knobs, defaults filled in.
func (s *Sim) Knobs() Knobs {
	return s.knobs.Load().filled()
}

// SetKnobs replaces the knobs. It panics when they are not valid.
func (s *Sim) SetKnobs(k Knobs) {
	s.Tune(func(old *Knobs) { *old = k })
}

// Tune changes some knobs and leaves the rest. It panics when they are not
// valid.
func (s *Sim) Tune(change func(*Knobs)) {
	err := s.tryTune(func(k *Knobs) error {
		change(k)
		return nil
	})
	if err != nil {
		panic(err)
	}
}

func (s *Sim) tryTune(change func(*Knobs) error) error {
	s.tune.Lock()
	defer s.tune.Unlock()
	var k Knobs
	if old := s.knobs.Load(); old != nil {
		k = old.filled()
	}
	if err := change(&k); err != nil {
		return err
	}
	if err := k.Validate(); err != nil {
		return err
	}
	s.knobs.Store(new(k.filled()))
	return nil
}

// Inject adds a fault and returns its id. It panics when f is not valid.
func (s *Sim) Inject(f Fault) string {
	if err := f.Validate(); err != nil {
		panic(err)
	}
	return s.faults.inject(f)
}

// Faults returns the faults injected, with how often each has fired.
func (s *Sim) Faults() []Fault {
	return s.faults.all()
}

// ClearFault removes a fault; it reports whether there was one.
func (s *Sim) ClearFault(id string) bool {
	return id != "" && s.faults.clear(id)
}

// ClearFaults removes all faults. Chaos stays.
func (s *Sim) ClearFaults() {
	s.faults.clear("")
}

// SetChaos starts chaos from its seed, or ends it with a zero Chaos. It panics
// when c is not valid.
func (s *Sim) SetChaos(c Chaos) {
	if err := c.Validate(); err != nil {
		panic(err)
	}
	s.dice.set(c)
}

// AddPackage puts a package on sale, or replaces the one with its id. It panics
// when p names no operator that exists.
func (s *Sim) AddPackage(p Package) {
	if err := s.addPackage(p); err != nil {
		panic(err)
	}
}

func (s *Sim) addPackage(p Package) error {
	p, err := p.filled()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalogue.add(p)
	return nil
}

// SetStock says how many of a package are left; negative is any number. It
// reports whether the package exists.
func (s *Sim) SetStock(packageID string, left int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.catalogue.byID[packageID]
	if old == nil {
		return false
	}
	p := *old
	p.Stock = nil
	if left >= 0 {
		p.Stock = &left
	}
	s.catalogue.add(p)
	return true
}

// Balance returns what the account has left.
func (s *Sim) Balance() Cents {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.balance
}

// SetBalance replaces what the account has left.
func (s *Sim) SetBalance(c Cents) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.balance = c
}

// ExpireTokens ends the life of every token issued so far.
func (s *Sim) ExpireTokens() {
	s.tokens.expireAll()
}

// Requests returns how many requests an endpoint got, however they were
// answered; Any counts all.
func (s *Sim) Requests(e Endpoint) int {
	return s.counts.total(e)
}

// RequestCounts returns how many requests each endpoint got; those with none are left out.
func (s *Sim) RequestCounts() map[Endpoint]int {
	return s.counts.snapshot()
}

// RequestsFor returns how many of them were for one order id or ICCID in the
// path, or for top-ups, the ICCID in the form.
func (s *Sim) RequestsFor(e Endpoint, id string) int {
	return s.counts.single(e, id)
}

// renderer returns the renderer of one answer.
func (s *Sim) renderer(k *Knobs) *renderer {
	r := &renderer{mode: k.Rendering, codes: k.CodesAsStrings}
	if k.Rendering == Mixed {
		r.rng = rand.New(rand.NewPCG(k.RenderingSeed, s.mixed.Add(1)))
	}
	return r
}

// orderByID wants the lock.
func (s *Sim) orderByID(id int) *order {
	i := id - s.cfg.FirstOrderID
	if i < 0 || i >= len(s.orders) {
		return nil
	}
	return s.orders[i]
}

// enter puts an order into the books; it wants the lock.
func (s *Sim) enter(o *order) {
	o.ID = s.cfg.FirstOrderID + len(s.orders)
	o.Code = fmt.Sprintf("%s-%06d", o.CreatedAt.UTC().Format("20060102"), o.ID)
	o.lowCode = strings.ToLower(o.Code)
	if o.Stored != nil {
		o.lowDesc = strings.ToLower(*o.Stored)
	}
	s.orders = append(s.orders, o)
	s.bySent[o.Sent] = append(s.bySent[o.Sent], o)
	if o.Status != Failed {
		s.sold++
	}
}
