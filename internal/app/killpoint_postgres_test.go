package app_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
)

// pgStatement is one statement as it was sent, with its parameters in the wire's format.
type pgStatement struct {
	sql     string
	args    [][]byte
	formats []int16 // of the parameters: none: text, one: of all
}

// pgWrite is what becomes durable at once: the statements of a transaction at its COMMIT, or
// those of a single round trip outside one.
type pgWrite struct {
	statements []pgStatement
	commit     bool     // a transaction's COMMIT
	tags       []string // what Postgres has answered; at the moment after only
	failed     bool
}

// find returns the statement that has this fragment in its text.
func (w pgWrite) find(fragment string) (pgStatement, bool) {
	i := slices.IndexFunc(w.statements, func(s pgStatement) bool { return strings.Contains(s.sql, fragment) })
	if i < 0 {
		return pgStatement{}, false
	}
	return w.statements[i], true
}

// texts is the n-th parameter, from 1, which is an array of texts; NULL is "".
func (s pgStatement) texts(n int) []string { return array[string](s, n, pgtype.TextArrayOID) }

// array is the n-th parameter, from 1, which is an array of a type; NULL is zero. It is
// empty if the parameter is something else.
func array[T any](s pgStatement, n int, oid uint32) []T {
	if n > len(s.args) {
		return nil
	}
	format := int16(pgtype.TextFormatCode)
	switch len(s.formats) {
	case 0:
	case 1:
		format = s.formats[0]
	default:
		format = s.formats[n-1]
	}
	var elements []*T
	if err := pgtype.NewMap().Scan(oid, format, s.args[n-1], &elements); err != nil {
		return nil
	}
	all := make([]T, len(elements))
	for i, e := range elements {
		if e != nil {
			all[i] = *e
		}
	}
	return all
}

// writes recognises a write by a fragment of one of its statements. Outside a transaction,
// one that has changed nothing is not meant.
func writes(fragment string) step {
	return step{postgres: func(w pgWrite) bool {
		_, ok := w.find(fragment)
		return ok && !w.idle()
	}}
}

// idle reports whether it is known to have changed nothing.
func (w pgWrite) idle() bool {
	return !w.commit && slices.ContainsFunc(w.tags, func(tag string) bool { return strings.HasSuffix(tag, " 0") })
}

// postgres puts a proxy in front of Postgres and returns its connection string.
func (w *wires) postgres(dsn string) string {
	w.tb.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	require.NoError(w.tb, err)
	network, address := pgconn.NetworkAddress(cfg.Host, cfg.Port)
	u := url.URL{Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Path: "/" + cfg.Database, RawQuery: "sslmode=disable"}
	u.Host = w.listen(func(client net.Conn) {
		c := &pgTalk{w: w, prepared: map[string]string{}}
		c.sent = append(c.sent, pgWrite{}) // the first ReadyForQuery answers the start
		w.relay(client, network, address, c.up, c.down)
	})
	return u.String()
}

// pgTalk is one connection to Postgres.
type pgTalk struct {
	w        *wires
	prepared map[string]string // statements' texts by their names

	open    bool          // in a transaction
	tx      []pgStatement // its statements so far
	trip    []pgStatement // since the last Sync
	waiting bytes.Buffer  // frames that wait for the end of their round trip

	mu   sync.Mutex
	sent []pgWrite // round trips that Postgres has not answered yet, oldest first
}

// up forwards what the process says, a round trip at a time.
func (c *pgTalk) up(client, server net.Conn) error {
	from := bufio.NewReader(client)
	startup := make([]byte, 4)
	if _, err := io.ReadFull(from, startup); err != nil {
		return err
	}
	if _, err := server.Write(startup); err != nil {
		return err
	}
	if _, err := io.CopyN(server, from, int64(binary.BigEndian.Uint32(startup))-4); err != nil {
		return err
	}
	for {
		kind, frame, err := readFrame(from)
		if err != nil {
			return err
		}
		c.waiting.Write(frame)
		body := frame[5:]
		switch kind {
		case 'P':
			var m pgproto3.Parse
			if err := m.Decode(body); err != nil {
				return err
			}
			c.prepared[m.Name] = m.Query
			continue
		case 'B':
			var m pgproto3.Bind
			if err := m.Decode(body); err != nil {
				return err
			}
			c.trip = append(c.trip, pgStatement{c.prepared[m.PreparedStatement], m.Parameters, m.ParameterFormatCodes})
			continue
		case 'Q':
			var m pgproto3.Query
			if err := m.Decode(body); err != nil {
				return err
			}
			c.trip = append(c.trip, pgStatement{sql: m.String})
		case 'S', 'X':
		default:
			continue
		}
		if err := c.pass(server, kind != 'X'); err != nil {
			return err
		}
	}
}

// pass forwards a round trip, unless it is the one.
func (c *pgTalk) pass(server net.Conn, answered bool) error {
	write := c.end()
	if len(write.statements) > 0 && c.w.stop.postgres != nil && c.w.when == before && c.w.stop.postgres(write) && c.w.spring() {
		return errStopped
	}
	if !c.w.passes() {
		return errStopped
	}
	if answered {
		c.mu.Lock()
		c.sent = append(c.sent, write)
		c.mu.Unlock()
	}
	_, err := server.Write(c.waiting.Bytes())
	c.waiting.Reset()
	return err
}

// end says what the round trip that ends makes durable; no statements: nothing.
func (c *pgTalk) end() pgWrite {
	trip := c.trip
	c.trip = nil
	if len(trip) == 0 {
		return pgWrite{}
	}
	switch verb, _, _ := strings.Cut(strings.ToLower(trip[0].sql), " "); {
	case verb == "begin":
		c.open, c.tx = true, nil
	case verb == "commit" && c.open:
		c.open = false
		return pgWrite{statements: c.tx, commit: true}
	case verb == "rollback":
		c.open = false
	case c.open:
		c.tx = append(c.tx, trip...)
	default:
		return pgWrite{statements: trip}
	}
	return pgWrite{}
}

// down passes on what Postgres answers, a round trip at a time, so that an answer is
// withheld as a whole.
func (c *pgTalk) down(client, server net.Conn) error {
	from := bufio.NewReader(server)
	var answer bytes.Buffer
	var tags []string
	failed, started := false, false
	for {
		kind, frame, err := readFrame(from)
		if err != nil {
			return err
		}
		answer.Write(frame)
		switch kind {
		case 'C':
			tags = append(tags, string(bytes.TrimRight(frame[5:], "\x00")))
		case 'E':
			failed = true
		case 'Z':
			started = true
			c.mu.Lock()
			write := c.sent[0]
			c.sent = c.sent[1:]
			c.mu.Unlock()
			write.tags, write.failed = tags, failed
			tags, failed = nil, false
			if c.meant(write) && c.w.spring() {
				return errStopped
			}
		}
		if kind != 'Z' && started {
			continue
		}
		if !c.w.passes() {
			return errStopped
		}
		if _, err := client.Write(answer.Bytes()); err != nil {
			return err
		}
		answer.Reset()
	}
}

// meant reports whether an answered write is the one to stop after.
func (c *pgTalk) meant(w pgWrite) bool {
	return c.w.stop.postgres != nil && c.w.when == after && len(w.statements) > 0 && !w.failed &&
		(!w.commit || slices.Contains(w.tags, "COMMIT")) && c.w.stop.postgres(w)
}

// readFrame reads a message of the protocol: its kind, its length, its body.
func readFrame(from io.Reader) (kind byte, frame []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(from, head); err != nil {
		return 0, nil, err
	}
	frame = make([]byte, 1+binary.BigEndian.Uint32(head[1:]))
	copy(frame, head)
	_, err = io.ReadFull(from, frame[5:])
	return head[0], frame, err
}
