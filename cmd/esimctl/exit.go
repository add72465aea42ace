package main

import (
	"errors"
	"fmt"
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
