package pressone

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Secret is text that prints, logs and marshals as a placeholder. Convert it to a string to use it.
type Secret string

const redacted = "[redacted]"

// String returns a placeholder.
func (Secret) String() string { return redacted }

// Format prints a placeholder whatever the verb.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue logs a placeholder.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Token is an access token.
type Token struct {
	Value   Secret
	Version int64 // grows with every new token
}

// TokenSource is where access tokens come from. An error of Token is an *Error that says so if nothing was sent, and if it
// concerns the account.
type TokenSource interface {
	// Token returns a token that is believed to be good.
	Token(ctx context.Context) (Token, error)
	// Reject says that PressOne refused the token, so that Token returns another. It does nothing when there is a newer one.
	Reject(ctx context.Context, t Token) error
}

// Fetch gets a new access token from PressOne, and how long it lives by PressOne's word; 0 when it did not say.
type Fetch func(ctx context.Context) (value string, expiresIn time.Duration, err error)

// NewFetch returns the request to PressOne's token endpoint. It uses the same settings as New, Tokens and Limiter aside: that
// endpoint has a limit of its own, three to five requests a minute. Errors are *Error; a refusal of the credentials concerns
// the account.
func NewFetch(cfg Config) (Fetch, error) {
	ep, err := newEndpoint(cfg)
	if err != nil {
		return nil, err
	}
	ep.transport.MaxIdleConnsPerHost = 1
	ep.transport.IdleConnTimeout = idleTimeout
	return func(ctx context.Context) (string, time.Duration, error) {
		value, expiresIn, e := ep.fetch(ctx, cfg.ClientID, cfg.ClientSecret)
		if e != nil {
			return "", 0, e
		}
		return value, expiresIn, nil
	}, nil
}

func (p *endpoint) fetch(ctx context.Context, id, secret string) (value string, expiresIn time.Duration, e *Error) {
	ctx, call := p.begin(ctx, OpToken)
	status := 0
	defer func() {
		if e != nil {
			e = p.finish(OpToken, e)
		}
		call.end(e, status)
	}()
	req, err := p.form(ctx, "/token", [][2]string{
		{"client_id", id}, {"client_secret", secret}, {"grant_type", "client_credentials"},
	})
	if err != nil {
		return "", 0, &Error{Disposition: NotApplied, NotSent: true, Err: err}
	}
	a, e := p.exchange(req, bodyMax)
	if e != nil {
		return "", 0, e
	}
	status = a.status
	if a.status < 200 || a.status > 299 || a.cut != nil {
		e := classify(read, a, nil)
		if slices.Contains(e.Fields, "client_id") || slices.Contains(e.Fields, "client_secret") {
			e.Account = true // an unknown client id is an error about a field, not a 401
		}
		return "", 0, e
	}
	var answer struct {
		Data struct {
			AccessToken text    `json:"access_token"`
			ExpiresIn   integer `json:"expires_in"`
		} `json:"data"`
	}
	if decode(a.body, &answer) != nil || !sendable(string(answer.Data.AccessToken)) {
		return "", 0, &Error{Status: a.status, Err: fmt.Errorf("%w: no access token", ErrUnreadable)}
	}
	seconds := min(max(answer.Data.ExpiresIn.value, 0), int64(tokenLifeMax/time.Second)) // a year would be cut down anyway
	return string(answer.Data.AccessToken), time.Duration(seconds) * time.Second, nil
}

// sendable reports whether a token can be sent in a header: visible ASCII, and some of it. Another one would be kept for a day
// and shared by all workers, and since no call could be made with it, no 401 would ever have it replaced.
func sendable(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

const (
	// tokenLifeMax is how long PressOne says that a token can be used, whatever expires_in says.
	tokenLifeMax = 24 * time.Hour
	// tokenLifeDefault is used when it does not say.
	tokenLifeDefault = time.Hour
	// tokenMarginMax bounds the tenth of its life for which a token is not used any more.
	tokenMarginMax = 5 * time.Minute
)

// usableFor is how long a token is used that was fetched just now.
func usableFor(expiresIn time.Duration) time.Duration {
	if expiresIn <= 0 {
		expiresIn = tokenLifeDefault
	}
	life := min(expiresIn, tokenLifeMax)
	return life - min(life/10, tokenMarginMax)
}

// privateToken keeps a token in memory, for one client alone.
type privateToken struct {
	fetch Fetch

	turn  chan struct{} // held by whoever fetches
	mu    sync.Mutex
	token Token
	until time.Time
}

func newPrivateToken(fetch Fetch) *privateToken {
	return &privateToken{fetch: fetch, turn: make(chan struct{}, 1)}
}

// Token implements TokenSource.
func (p *privateToken) Token(ctx context.Context) (Token, error) {
	if t, ok := p.current(); ok {
		return t, nil
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return Token{}, &Error{Operation: OpToken, Disposition: NotApplied, NotSent: true, Err: context.Cause(ctx)}
	}
	if t, ok := p.current(); ok {
		return t, nil
	}
	value, expiresIn, err := p.fetch(ctx)
	if err != nil {
		return Token{}, tokenError(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.token = Token{Value: Secret(value), Version: p.token.Version + 1}
	p.until = time.Now().Add(usableFor(expiresIn))
	return p.token, nil
}

func (p *privateToken) current() (Token, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.token, p.token.Value != "" && time.Until(p.until) > 0
}

// Reject implements TokenSource.
func (p *privateToken) Reject(_ context.Context, t Token) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.token.Version == t.Version {
		p.until = time.Time{}
	}
	return nil
}
