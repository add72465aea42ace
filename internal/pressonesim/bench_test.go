package pressonesim

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// BenchmarkOrder is one POST orders through the handler, with long books.
func BenchmarkOrder(b *testing.B) {
	s := New(Config{Balance: 1 << 50})
	h, token := s.Handler(), s.tokens.issue(s.now())
	for i := 0; b.Loop(); i++ {
		require200(b, h, "POST", "orders", token, orderForm(simPackage, "1", fmt.Sprintf("reference-%010d", i)))
	}
}

// BenchmarkLookup is one look-up by description among 100,000 orders.
func BenchmarkLookup(b *testing.B) {
	s := New(Config{Balance: 1 << 50})
	h, token := s.Handler(), s.tokens.issue(s.now())
	for i := range 100_000 {
		require200(b, h, "POST", "orders", token, orderForm(simPackage, "1", fmt.Sprintf("reference-%010d", i)))
	}
	query := url.Values{"filter[description]": {"reference-0000050000"}, "include": {"sims,status"}}
	for b.Loop() {
		require200(b, h, "GET", "orders?"+query.Encode(), token, nil)
	}
}

func require200(b *testing.B, h http.Handler, method, path, token string, form url.Values) {
	b.Helper()
	req := httptest.NewRequestWithContext(b.Context(), method, "/customer/v2/"+path, strings.NewReader(form.Encode()))
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		b.Fatal(w.Code, w.Body)
	}
}
