package app_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"

	"github.com/stretchr/testify/require"
)

// calls recognises a call to PressOne by method and the end of its path.
func calls(method, path string) step {
	pattern := regexp.MustCompile(path + "$")
	return step{pressone: func(r *http.Request) bool { return r.Method == method && pattern.MatchString(r.URL.Path) }}
}

// pressone puts a proxy in front of PressOne and returns its base URL. Calls stop before they
// reach PressOne, or when PressOne has answered in full. What was stopped before can be
// delivered all the same: see letThrough.
func (w *wires) pressone(base string, letThrough *[]byte) string {
	w.tb.Helper()
	u, err := url.Parse(base)
	require.NoError(w.tb, err)
	address := u.Host
	u.Host = w.listen(func(client net.Conn) {
		c := &httpTalk{w: w, address: address, letThrough: letThrough}
		c.serve(client)
	})
	return u.String()
}

// httpTalk is one connection to PressOne.
type httpTalk struct {
	w          *wires
	address    string
	letThrough *[]byte // the request that was stopped before
}

// serve forwards calls, one connection for each.
func (c *httpTalk) serve(client net.Conn) {
	from := bufio.NewReader(client)
	for {
		r, err := http.ReadRequest(from)
		if err != nil {
			return
		}
		var request bytes.Buffer
		if err := r.Write(&request); err != nil { // whole: the process has written all of it
			return
		}
		meant := c.w.stop.pressone != nil && c.w.stop.pressone(r)
		if meant && c.w.when == before {
			*c.letThrough = request.Bytes()
			if c.w.spring() {
				return
			}
		}
		if !c.w.passes() {
			return
		}
		answer, err := c.ask(request.Bytes(), r)
		if err != nil {
			if tcp, ok := client.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // broken there, so broken here
			}
			return
		}
		c.w.slow.hold(r, c.w.dead)
		if meant && c.w.when == after && c.w.spring() || !c.w.passes() {
			return
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

// ask sends a request on and returns the whole answer.
func (c *httpTalk) ask(request []byte, r *http.Request) (answer []byte, err error) {
	server, err := net.Dial("tcp", c.address)
	if err != nil {
		return nil, err
	}
	c.w.keep(server, func(server net.Conn) { answer, err = exchange(server, request, r) })
	if answer == nil && err == nil {
		err = io.ErrUnexpectedEOF
	}
	return answer, err
}

// exchange is one request and its answer.
func exchange(server net.Conn, request []byte, r *http.Request) ([]byte, error) {
	if _, err := server.Write(request); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(server), r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer bytes.Buffer
	if err := res.Write(&answer); err != nil {
		return nil, err
	}
	return answer.Bytes(), nil
}
