package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// question is what whoever sits at the terminal is asked before something is done that
// cannot be taken back. --yes answers it beforehand.
type question struct {
	ask   string // how it ends on the screen: "Resume kind order?"
	want  string // what has to be typed; empty is y or yes
	left  string // what is so if the answer is no: "nothing was resumed"
	would string // what is said where nobody can be asked: "kind order would be resumed"
	look  string // and where to look instead, or nothing
}

// confirm asks q and returns nil if the answer is yes.
func (c *cli) confirm(ctx context.Context, yes bool, q question) error {
	if yes {
		return nil
	}
	if !c.interactive {
		instead := "say --yes"
		if q.look != "" {
			instead += ", or look at " + q.look
		}
		return usagef("%s and nobody can be asked: %s", q.would, instead)
	}
	how := "[y/N]"
	if q.want != "" {
		how = "Type " + q.want + ":"
	}
	_, _ = fmt.Fprintf(c.err, "%s %s ", q.ask, how)
	answer := make(chan string, 1)
	go func() { // it ends with the program: a terminal cannot be interrupted
		line, err := bufio.NewReader(c.in).ReadString('\n')
		if err != nil {
			line = "" // what was not said is no
			c.say("")
		}
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		c.say("")
		return fmt.Errorf("interrupted: %s", q.left)
	case got := <-answer:
		if q.want != "" && got == q.want || q.want == "" && (strings.EqualFold(got, "y") || strings.EqualFold(got, "yes")) {
			return nil
		}
	}
	return exitf(exitRefused, "not confirmed: %s", q.left)
}
