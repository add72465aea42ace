package pressonesim

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// adminHandler serves /_sim/, which stands for no endpoint of PressOne's. It
// needs no token and is never spoilt.
func (s *Sim) adminHandler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request, body []byte) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
			if err == nil {
				var v any
				if v, err = f(r, body); err == nil {
					writeAdmin(w, http.StatusOK, v)
					return
				}
			}
			status := http.StatusBadRequest
			if errors.Is(err, errAbsent) || errors.Is(err, errNoSim) {
				status = http.StatusNotFound
			}
			writeAdmin(w, status, map[string]string{"error": err.Error()})
		})
	}
	s.adminBooks(handle)
	s.adminTrouble(handle)
	s.adminStock(handle)
	return mux
}

var errAbsent = errors.New("pressonesim: no such thing")

type adminRoutes func(pattern string, f func(r *http.Request, body []byte) (any, error))

// adminBooks: what happened.
func (s *Sim) adminBooks(handle adminRoutes) {
	handle("GET /_sim/ledger", func(r *http.Request, _ []byte) (any, error) {
		l := s.Ledger()
		if q := r.URL.Query(); q.Has("description") {
			l.Sold = l.Orders(q.Get("description"))
		}
		return struct {
			Ledger
			Count   int   `json:"count"`
			Revenue Cents `json:"revenue_cents"`
			Balance Cents `json:"balance_cents"`
		}{l, l.Count(), l.Revenue(), s.Balance()}, nil
	})
	handle("GET /_sim/requests", func(r *http.Request, _ []byte) (any, error) {
		if q := r.URL.Query(); q.Has("id") {
			e := Endpoint(q.Get("endpoint"))
			return map[Endpoint]int{e: s.RequestsFor(e, q.Get("id"))}, nil
		}
		return s.counts.snapshot(), nil
	})
	handle("PUT /_sim/orders/{id}/status", func(r *http.Request, body []byte) (any, error) {
		var in struct {
			Status OrderStatus `json:"status"`
		}
		if err := decodeHuman(body, &in); err != nil {
			return nil, err
		}
		id, ok := whole(r.PathValue("id"))
		if !ok || !s.SetOrderStatus(id, in.Status) {
			return nil, fmt.Errorf("%w: order %s", errAbsent, r.PathValue("id"))
		}
		return in, nil
	})
}

// adminTrouble: how the provider behaves.
func (s *Sim) adminTrouble(handle adminRoutes) {
	handle("GET /_sim/knobs", func(*http.Request, []byte) (any, error) { return s.Knobs(), nil })
	handle("PATCH /_sim/knobs", func(_ *http.Request, body []byte) (any, error) {
		err := s.tryTune(func(k *Knobs) error { return decodeHuman(body, k) })
		return s.Knobs(), err
	})
	handle("GET /_sim/faults", func(*http.Request, []byte) (any, error) { return s.Faults(), nil })
	handle("POST /_sim/faults", func(_ *http.Request, body []byte) (any, error) {
		var f Fault
		if err := decodeHuman(body, &f); err != nil {
			return nil, err
		}
		if err := f.Validate(); err != nil {
			return nil, err
		}
		return map[string]string{"id": s.Inject(f)}, nil
	})
	handle("DELETE /_sim/faults", func(*http.Request, []byte) (any, error) {
		s.ClearFaults()
		return s.Faults(), nil
	})
	handle("DELETE /_sim/faults/{id}", func(r *http.Request, _ []byte) (any, error) {
		if !s.ClearFault(r.PathValue("id")) {
			return nil, fmt.Errorf("%w: fault %s", errAbsent, r.PathValue("id"))
		}
		return s.Faults(), nil
	})
	handle("GET /_sim/chaos", func(*http.Request, []byte) (any, error) { return s.dice.current(), nil })
	handle("PUT /_sim/chaos", func(_ *http.Request, body []byte) (any, error) {
		var c Chaos
		if err := decodeHuman(body, &c); err != nil {
			return nil, err
		}
		if err := c.Validate(); err != nil {
			return nil, err
		}
		s.SetChaos(c)
		return s.dice.current(), nil
	})
	handle("POST /_sim/tokens/expire", func(*http.Request, []byte) (any, error) {
		s.ExpireTokens()
		return map[string]bool{"expired": true}, nil
	})
}

// adminStock: what there is to buy, and with what.
func (s *Sim) adminStock(handle adminRoutes) {
	handle("GET /_sim/balance", func(*http.Request, []byte) (any, error) {
		return map[string]Cents{"cents": s.Balance()}, nil
	})
	handle("PUT /_sim/balance", func(_ *http.Request, body []byte) (any, error) {
		var in struct {
			Cents *Cents `json:"cents"`
		}
		if err := decodeHuman(body, &in); err != nil || in.Cents == nil {
			return nil, errors.Join(err, errors.New("pressonesim: want cents"))
		}
		s.SetBalance(*in.Cents)
		return in, nil
	})
	handle("GET /_sim/packages", func(*http.Request, []byte) (any, error) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.catalogue.all(), nil
	})
	handle("POST /_sim/packages", func(_ *http.Request, body []byte) (any, error) {
		var p Package
		if err := decodeHuman(body, &p); err != nil {
			return nil, err
		}
		return p, s.addPackage(p)
	})
	handle("PUT /_sim/packages/{id}/stock", func(r *http.Request, body []byte) (any, error) {
		var in struct {
			Left *int `json:"left"` // null is any number
		}
		if err := decodeHuman(body, &in); err != nil {
			return nil, err
		}
		left := -1
		if in.Left != nil {
			left = *in.Left
		}
		if !s.SetStock(r.PathValue("id"), left) {
			return nil, fmt.Errorf("%w: package %s", errAbsent, r.PathValue("id"))
		}
		return in, nil
	})
	handle("POST /_sim/sims", func(_ *http.Request, body []byte) (any, error) {
		var e ESIM
		if err := decodeHuman(body, &e); err != nil {
			return nil, err
		}
		return e, s.addSim(e)
	})
	handle("POST /_sim/sims/{iccid}/recycle", func(r *http.Request, _ []byte) (any, error) {
		return map[string]bool{"recycled": true}, s.Recycle(r.PathValue("iccid"))
	})
	handle("PUT /_sim/sims/{iccid}/status", func(r *http.Request, body []byte) (any, error) {
		var in struct {
			Status SimStatus `json:"status"`
		}
		if err := decodeHuman(body, &in); err != nil {
			return nil, err
		}
		return in, s.SetSimStatus(r.PathValue("iccid"), in.Status)
	})
}

func writeAdmin(w http.ResponseWriter, status int, v any) {
	body, err := encodeHuman(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
