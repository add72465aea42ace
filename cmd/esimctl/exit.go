package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/pflag"
)

// The exit codes.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2 // it was asked for wrongly, or the environment is wrong
	exitNotFound = 3
	exitRefused  = 4 // nothing was changed, and the reason was said
	exitPartly   = 5
)

// exitError is an error that knows its exit code.
type exitError struct {
	code int
	err  error
}

// Error implements error.
func (e *exitError) Error() string { return e.err.Error() }

// Unwrap returns the error without its code.
func (e *exitError) Unwrap() error { return e.err }

// exitf is an error with an exit code.
func exitf(code int, format string, args ...any) error {
	return &exitError{code: code, err: fmt.Errorf(format, args...)}
}

// usagef is for what was asked for wrongly.
func usagef(format string, args ...any) error { return exitf(exitUsage, format, args...) }

// codeOf is the exit code of err: 1 unless it knows better.
func codeOf(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitFailed
}

// plainly says what to do where a library only says that it has failed.
func plainly(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return errors.New("interrupted")
	}
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		lines := strings.Split(e.Error(), "\n") // a line for each of the ways that were tried
		return fmt.Errorf("no Postgres lets esimctl in at %s:%d:\n  %s\nIs it running there? Set DATABASE_URL",
			e.Config.Host, e.Config.Port, strings.TrimSpace(lines[len(lines)-1]))
	}
	return err
}

// wrongValue says in the words of the command line that a flag's value is not one.
func wrongValue(err error) error {
	e, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	wanted := map[string]string{
		"int": "a whole number", "int64": "a whole number", "uint64": "a whole number", "float64": "a number",
		"bool": "true or false", "duration": "a time like 1h30m",
	}
	return fmt.Errorf("--%s %q is not %s", e.GetFlag().Name, e.GetValue(), wanted[e.GetFlag().Value.Type()])
}
