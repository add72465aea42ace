// Package message is what travels on NATS: streams and subjects, the requests that come
// in, the results that go out, and the copies of dead letters.
//
//	ESIM_REQUESTS  esim.request.order | topup                        upstream → worker
//	ESIM_EVENTS    esim.event.<kind>.completed | failed              publisher → upstream
//	ESIM_DLQ       esim.dlq.<kind>.<code>                            publisher → operators
//
// It only reads and writes bytes: it opens no connection and imports nothing else of
// esimflow. Whatever it cannot understand it says so in words that the sender can act on;
// the bytes themselves are kept by whoever called.
package message
