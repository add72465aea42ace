package pressonesim

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// tokens remembers every access token issued.
type tokens struct {
	mu     sync.Mutex
	issued map[string]token
	epoch  int // tokens of an older one have been expired
}

type token struct {
	issuedAt time.Time
	epoch    int
}

// issue makes a token. Older ones stay valid, as SDKs that share nothing rely on.
func (t *tokens) issue(now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := sha256.Sum256(fmt.Appendf(nil, "token/%d", len(t.issued)+1))
	text := "eyJ0eXAiOiJKV1QifQ." + base64.RawURLEncoding.EncodeToString(sum[:])
	t.issued[text] = token{now, t.epoch}
	return text
}

func (t *tokens) expireAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch++
}

// check returns 0, or the code of section 3.2 that says what is wrong.
func (t *tokens) check(text string, now time.Time, life time.Duration) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.issued[text]
	switch {
	case text == "":
		return codeNoToken
	case !ok:
		return codeBadToken
	case known.epoch != t.epoch || !now.Before(known.issuedAt.Add(life)):
		return codeTokenExpired
	}
	return 0
}

// authorize returns nil, or the refusal of a call without a valid token.
func (s *Sim) authorize(c *call) *reply {
	scheme, text, _ := strings.Cut(c.authorization, " ")
	if !strings.EqualFold(scheme, "bearer") {
		text = ""
	}
	code := s.tokens.check(strings.TrimSpace(text), c.now, c.knobs.TokenLife)
	switch {
	case code == 0:
		return nil
	case c.knobs.Unauthorized == E3:
		return c.e3(http.StatusUnauthorized, textUnauthorized)
	}
	return c.e1(http.StatusUnauthorized, code, reasons[code])
}

func (s *Sim) postToken(c *call) *reply {
	for _, field := range []string{"client_id", "client_secret"} {
		if c.form.get(field) == "" {
			return c.e2(field, "The "+strings.ReplaceAll(field, "_", " ")+" field is required.")
		}
	}
	if g := c.form.get("grant_type"); g != "" && g != "client_credentials" {
		return c.e2("grant_type", "The selected grant type is invalid.")
	}
	if c.form.get("client_id") != s.cfg.ClientID {
		return c.e2("client_id", "The selected client id is invalid.")
	}
	if secret := s.secret.Load(); c.form.get("client_secret") != *secret {
		return c.e3(http.StatusUnauthorized, "Client authentication failed")
	}
	return c.ok(wireToken{TokenType: "Bearer", ExpiresIn: c.knobs.ExpiresIn, AccessToken: s.tokens.issue(c.now)})
}

// SetClientSecret changes the secret that buys a token. Tokens that were issued stay valid.
func (s *Sim) SetClientSecret(secret string) { s.secret.Store(&secret) }
