package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"esimflow/internal/config"
	"esimflow/internal/deadletter"
	"esimflow/internal/ops"
)

// client talks to the API of a worker.
type client struct {
	base  string
	token string
	http  *http.Client
}

// How long the worker is waited for. Adopting asks PressOne, and a chunk of a replay is
// many commits.
const (
	dialTimeout = 5 * time.Second
	callTimeout = time.Minute
)

// client is made when it is first needed: what is asked for wrongly is said before.
func (c *cli) client() (*client, error) {
	if c.api != nil {
		return c.api, nil
	}
	cfg, err := config.Load(c.lookup, config.Client)
	if err != nil {
		return nil, usagef("%w", err)
	}
	c.api = &client{
		base: cfg.ESIMFlowURL, token: cmp.Or(cfg.OpsToken.Reveal(), cfg.ViewerToken.Reveal()),
		http: &http.Client{
			Timeout: callTimeout,
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
				TLSHandshakeTimeout: dialTimeout,
			},
			// A redirect leads away from the worker, and the token must not follow.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	return c.api, nil
}

// by is who acts and why; both are required.
func (c *cli) by(reason string) (deadletter.By, error) {
	by := deadletter.By{Actor: strings.TrimSpace(c.actor), Reason: strings.TrimSpace(reason)}
	switch {
	case by.Actor == "":
		return by, usagef("--actor is empty: who acts is recorded")
	case by.Reason == "":
		return by, usagef("--reason is missing: why it is done is recorded")
	}
	return by, nil
}

// get asks for something below /api/v1.
func get[T any](ctx context.Context, c *cli, path string, query url.Values) (T, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return call[T](ctx, c, http.MethodGet, path, nil)
}

// post does something below /api/v1. It is not repeated: whether it was done when no
// answer comes is for the operator to look at.
func post[T any](ctx context.Context, c *cli, path string, in any) (T, error) {
	body, err := json.Marshal(in)
	if err != nil {
		var zero T
		return zero, err
	}
	return call[T](ctx, c, http.MethodPost, path, body)
}

func call[T any](ctx context.Context, c *cli, method, path string, body []byte) (T, error) {
	var v T
	cl, err := c.client()
	if err != nil {
		return v, err
	}
	req, err := http.NewRequestWithContext(ctx, method, cl.base+"/api/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return v, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", ops.CLIAgent)
	if cl.token != "" {
		req.Header.Set("Authorization", "Bearer "+cl.token)
	}
	resp, err := cl.http.Do(req)
	if err != nil {
		return v, cl.unreachable(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return v, cl.problem(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		if ctx.Err() != nil {
			return v, cl.unreachable(ctx, err)
		}
		return v, fmt.Errorf("%s did not answer as a worker's API does: %w", cl.base, err)
	}
	return v, nil
}

// unreachable says what to do when there is no answer.
func (cl *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return fmt.Errorf("no worker's API answers at %s: %w\n"+
		"Is a worker running there? Set ESIMFLOW_URL, or give --url", cl.base, err)
}

// maxProblem is how much is read of an answer that is not a success.
const maxProblem = 64 << 10

// problem is what the API says is wrong, with the exit code for it.
func (cl *client) problem(resp *http.Response) error {
	var p ops.Problem
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil || json.Unmarshal(body, &p) != nil || p.Kind == "" {
		return fmt.Errorf("%s answered %q, not as a worker's API does: check ESIMFLOW_URL", cl.base, resp.Status)
	}
	switch p.Kind {
	case "usage":
		return exitf(exitUsage, "%s", p.Error)
	case "not_found":
		return exitf(exitNotFound, "%s", p.Error)
	case "refused":
		return exitf(exitRefused, "refused: %s", p.Error)
	case "forbidden":
		return fmt.Errorf("forbidden: %s: set OPS_TOKEN", p.Error)
	case "unauthorized":
		if cl.token == "" {
			return fmt.Errorf("unauthorized: %s (here it is not set)", p.Error)
		}
		return fmt.Errorf("unauthorized: %s", p.Error)
	}
	return errors.New(p.Error)
}
