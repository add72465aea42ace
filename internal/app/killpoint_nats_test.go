package app_test

import (
	"bufio"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
)

// publishes recognises a message to a subject with this prefix. The moment after is when
// its answer is on the way back: JetStream has it.
func publishes(prefix string) step {
	return step{nats: func(subject string) bool { return strings.HasPrefix(subject, prefix) }}
}

// nats puts a proxy in front of NATS and returns its URL.
func (w *wires) nats(server string) string {
	w.tb.Helper()
	u, err := url.Parse(server)
	require.NoError(w.tb, err)
	address := u.Host
	u.Host = w.listen(func(client net.Conn) {
		c := &natsTalk{w: w}
		w.relay(client, "tcp", address, c.up, c.down)
	})
	return u.String()
}

// natsTalk is one connection to NATS.
type natsTalk struct {
	w *wires

	mu    sync.Mutex
	inbox string // where the answer to the message in question will come
}

// up forwards what the process says.
func (c *natsTalk) up(client, server net.Conn) error {
	from := bufio.NewReader(client)
	for {
		verb, fields, frame, err := readNATS(from)
		if err != nil {
			return err
		}
		meant := (verb == "PUB" || verb == "HPUB") && c.w.stop.nats != nil && c.w.stop.nats(fields[0])
		if meant && c.w.when == before && c.w.spring() || !c.w.passes() {
			return errStopped
		}
		if meant {
			c.expect(verb, fields)
		}
		if _, err := server.Write(frame); err != nil {
			return err
		}
		if meant && c.w.when == after && c.arrives() && c.w.spring() {
			return errStopped
		}
	}
}

// expect notes where the answer to a message will come, if there will be one.
func (c *natsTalk) expect(verb string, fields []string) {
	sizes := 1
	if verb == "HPUB" {
		sizes = 2
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(fields) == 1+1+sizes {
		c.inbox = fields[1]
	}
}

// arrives waits until a message that nobody answers has been taken. It reports false for
// one that is answered.
func (c *natsTalk) arrives() bool {
	for c.w.stop.taken != nil {
		if c.w.stop.taken() {
			return true
		}
		select {
		case <-c.w.dead:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return false
}

// down passes on what NATS says.
func (c *natsTalk) down(client, server net.Conn) error {
	from := bufio.NewReader(server)
	for {
		verb, fields, frame, err := readNATS(from)
		if err != nil {
			return err
		}
		if verb == "MSG" || verb == "HMSG" {
			c.mu.Lock()
			answer := c.inbox != "" && fields[0] == c.inbox
			c.mu.Unlock()
			if answer && c.w.when == after && c.w.spring() {
				return errStopped
			}
		}
		if !c.w.passes() {
			return errStopped
		}
		if _, err := client.Write(frame); err != nil {
			return err
		}
	}
}

// readNATS reads a line of the protocol and the payload that belongs to it.
func readNATS(from *bufio.Reader) (verb string, fields []string, frame []byte, err error) {
	line, err := from.ReadString('\n')
	if err != nil {
		return "", nil, nil, err
	}
	verb, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	verb = strings.ToUpper(verb)
	frame = []byte(line)
	switch verb {
	case "PUB", "HPUB", "MSG", "HMSG":
		fields = strings.Fields(rest)
		size, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil {
			return "", nil, nil, err
		}
		payload := make([]byte, size+2) // and its CRLF
		if _, err := io.ReadFull(from, payload); err != nil {
			return "", nil, nil, err
		}
		frame = append(frame, payload...)
	}
	return verb, fields, frame, nil
}
