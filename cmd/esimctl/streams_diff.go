package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"esimflow/internal/message"
)

// field is one setting of a stream or a consumer that the contract sets. What is not
// listed here belongs to whoever operates the servers: limits, placement, descriptions.
type field[C any] struct {
	name  string
	show  func(C) string
	set   func(to *C, from C)
	fixed bool // the server does not change it, or forgets where it was if it is made anew
}

// difference is one setting that is not as the contract has it, or that it warns of.
type difference struct {
	Field   string `json:"field"`
	Has     string `json:"has"`
	Want    string `json:"want,omitempty"`
	Warning string `json:"warning,omitempty"` // why, where it is no breach of the contract
	fixed   bool
}

func (d difference) String() string {
	if d.Warning != "" {
		return d.Field + " is " + d.Has + ": " + d.Warning
	}
	return d.Field + " is " + d.Has + " and has to be " + d.Want
}

// setting is a field of one member: at says where it is.
func setting[C, T any](name string, at func(*C) *T, show func(T) string) field[C] {
	return field[C]{
		name: name,
		show: func(c C) string { return show(*at(&c)) },
		set:  func(to *C, from C) { *at(to) = *at(&from) },
	}
}

// fixed is f where the server does not change it.
func fixed[C any](f field[C]) field[C] {
	f.fixed = true
	return f
}

// streamFields compares what want sets. A limit that want leaves open is the operator's,
// and so is the number of replicas unless replicas says that it was asked for.
func streamFields(want jetstream.StreamConfig, replicas bool) []field[jetstream.StreamConfig] {
	type stream = jetstream.StreamConfig
	fields := []field[stream]{
		fixed(setting("storage", func(s *stream) *jetstream.StorageType { return &s.Storage }, lower)),
		setting("subjects", func(s *stream) *[]string { return &s.Subjects }, sorted),
		setting("retention", func(s *stream) *jetstream.RetentionPolicy { return &s.Retention }, lower),
		setting("discard", func(s *stream) *jetstream.DiscardPolicy { return &s.Discard }, without[jetstream.DiscardPolicy]("discard")),
		setting("duplicate window", func(s *stream) *time.Duration { return &s.Duplicates }, time.Duration.String),
		fixed(setting("deletion denied", func(s *stream) *bool { return &s.DenyDelete }, strconv.FormatBool)),
		fixed(setting("sealed", func(s *stream) *bool { return &s.Sealed }, strconv.FormatBool)),
		fixed(setting("mirror of", func(s *stream) **jetstream.StreamSource { return &s.Mirror },
			func(m *jetstream.StreamSource) string { return origins(m) })),
		setting("sources", func(s *stream) *[]*jetstream.StreamSource { return &s.Sources },
			func(all []*jetstream.StreamSource) string { return origins(all...) }),
		setting("subject transform", func(s *stream) **jetstream.SubjectTransformConfig { return &s.SubjectTransform }, transformed),
		// async acknowledges before it writes
		fixed(setting("persistence", func(s *stream) *jetstream.PersistModeType { return &s.PersistMode }, lower)),
	}
	if replicas {
		fields = append(fields, setting("replicas", func(s *stream) *int { return &s.Replicas }, strconv.Itoa))
	}
	if want.MaxMsgSize > 0 {
		fields = append(fields, setting("largest message", func(s *stream) *int32 { return &s.MaxMsgSize },
			func(n int32) string { return strconv.Itoa(int(n)) }))
	}
	if want.MaxMsgsPerSubject > 0 {
		fields = append(fields, field[stream]{
			name: "messages per subject",
			show: func(s stream) string { return strconv.FormatInt(s.MaxMsgsPerSubject, 10) },
			set:  func(to *stream, from stream) { to.MaxMsgsPerSubject = from.MaxMsgsPerSubject },
		})
	}
	if want.AllowDirect {
		fields = append(fields, setting("direct access", func(s *stream) *bool { return &s.AllowDirect }, strconv.FormatBool))
	}
	return fields
}

// streamWarnings is about settings of the operator's that hurt.
func streamWarnings(want, has jetstream.StreamConfig) []difference {
	var all []difference
	warn := func(field, has, why string) {
		all = append(all, difference{Field: field, Has: has, Warning: why})
	}
	if has.Replicas == 1 {
		warn("replicas", "1", "what is on the stream is lost with its server")
	}
	if want.Name != message.EventsStream && has.MaxAge > 0 {
		warn("maximum age", has.MaxAge.String(), "what is older is dropped, open or not")
	}
	if want.MaxMsgsPerSubject <= 0 && has.MaxMsgsPerSubject > 0 && !has.DiscardNewPerSubject {
		warn("messages per subject", strconv.FormatInt(has.MaxMsgsPerSubject, 10), "older ones are dropped, read or not: all of a kind have one subject")
	}
	if has.AllowRollup {
		warn("roll-up", "allowed", "whoever publishes can remove what others have")
	}
	if has.NoAck {
		warn("acknowledgement", "off", "whoever publishes does not learn whether it was stored")
	}
	return all
}

// replicaWarnings is about the servers that hold a stream: what they are is the operator's, that they are there is not a
// matter of configuration.
func replicaWarnings(cluster *jetstream.ClusterInfo) []difference {
	if cluster == nil {
		return nil
	}
	var all []difference
	for _, r := range cluster.Replicas {
		switch {
		case r.Offline:
			all = append(all, difference{Field: "replica " + r.Name, Has: "offline", Warning: "one more that is lost may stop the stream"})
		case !r.Current:
			all = append(all, difference{Field: "replica " + r.Name, Has: "behind", Warning: "it is catching up, or cannot"})
		}
	}
	return all
}

// origins are where a stream copies from.
func origins(sources ...*jetstream.StreamSource) string {
	var names []string
	for _, s := range sources {
		if s != nil {
			names = append(names, s.Name)
		}
	}
	return orNone(sorted(names))
}

func transformed(t *jetstream.SubjectTransformConfig) string {
	if t == nil {
		return "none"
	}
	return t.Source + " to " + t.Destination
}

type consumer = jetstream.ConsumerConfig

var consumerFields = []field[consumer]{
	fixed(setting("ack policy", func(c *consumer) *jetstream.AckPolicy { return &c.AckPolicy }, without[jetstream.AckPolicy]("ack"))),
	fixed(setting("deliver policy", func(c *consumer) *jetstream.DeliverPolicy { return &c.DeliverPolicy }, jetstream.DeliverPolicy.String)),
	fixed(setting("storage", func(c *consumer) *bool { return &c.MemoryStorage }, func(memory bool) string {
		if memory {
			return "memory"
		}
		return "file"
	})),
	{
		name: "filter",
		show: func(c consumer) string {
			subjects := c.FilterSubjects
			if c.FilterSubject != "" {
				subjects = append(slices.Clone(subjects), c.FilterSubject)
			}
			return sorted(subjects)
		},
		set: func(to *consumer, from consumer) {
			to.FilterSubject, to.FilterSubjects = from.FilterSubject, from.FilterSubjects
		},
	},
	setting("deliveries", func(c *consumer) *int { return &c.MaxDeliver }, func(n int) string {
		if n <= 0 {
			return "unlimited"
		}
		return strconv.Itoa(n)
	}),
	setting("headers only", func(c *consumer) *bool { return &c.HeadersOnly }, strconv.FormatBool),
	fixed(setting("replay policy", func(c *consumer) *jetstream.ReplayPolicy { return &c.ReplayPolicy }, lower)),
	{
		// A worker whose request is above a limit gets nothing, for ever.
		name: "limits of pull requests",
		show: pullLimits,
		set: func(to *consumer, from consumer) {
			to.MaxRequestBatch, to.MaxRequestExpires, to.MaxRequestMaxBytes = from.MaxRequestBatch, from.MaxRequestExpires, from.MaxRequestMaxBytes
		},
	},
	{
		// Workers name no group, and who names none gets nothing.
		name: "priority groups", fixed: true,
		show: func(c consumer) string { return orNone(sorted(c.PriorityGroups)) },
		set: func(to *consumer, from consumer) {
			to.PriorityGroups, to.PriorityPolicy = from.PriorityGroups, from.PriorityPolicy
		},
	},
	setting("kept while idle", func(c *consumer) *time.Duration { return &c.InactiveThreshold }, func(d time.Duration) string {
		if d <= 0 {
			return "always"
		}
		return d.String()
	}),
}

// leastAckWait is the least time for which a message should be out before it is delivered
// again: below that, a worker that is merely busy gets everything twice.
const leastAckWait = 5 * time.Second

// consumerWarnings is about settings of a consumer of a stream that hurt.
func consumerWarnings(of jetstream.StreamConfig, has jetstream.ConsumerConfig) []difference {
	var all []difference
	again := has.AckWait
	if len(has.BackOff) > 0 {
		again = slices.Min(has.BackOff) // which counts instead
	}
	if again > 0 && again < leastAckWait {
		all = append(all, difference{Field: "ack wait", Has: again.String(), Warning: "requests are delivered again while they are worked on"})
	}
	if has.Replicas == 1 && of.Replicas > 1 {
		all = append(all, difference{Field: "replicas", Has: "1", Warning: "what has been taken is forgotten with its server, and all is delivered again"})
	}
	if has.PauseUntil != nil && has.PauseUntil.After(time.Now()) {
		all = append(all, difference{Field: "pause", Has: "until " + instant(*has.PauseUntil), Warning: "no requests are delivered"})
	}
	return all
}

func pullLimits(c jetstream.ConsumerConfig) string {
	var limits []string
	if c.MaxRequestBatch > 0 {
		limits = append(limits, strconv.Itoa(c.MaxRequestBatch)+" messages")
	}
	if c.MaxRequestExpires > 0 {
		limits = append(limits, c.MaxRequestExpires.String())
	}
	if c.MaxRequestMaxBytes > 0 {
		limits = append(limits, strconv.Itoa(c.MaxRequestMaxBytes)+" bytes")
	}
	return orNone(strings.Join(limits, ", "))
}

// compare lists what is not as wanted.
func compare[C any](fields []field[C], want, has C) []difference {
	var all []difference
	for _, f := range fields {
		if h, w := f.show(has), f.show(want); h != w {
			all = append(all, difference{Field: f.name, Has: orNone(h), Want: w, fixed: f.fixed})
		}
	}
	return all
}

// merge is has with what the contract sets.
func merge[C any](fields []field[C], want, has C) C {
	for _, f := range fields {
		f.set(&has, want)
	}
	return has
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func lower[T fmt.Stringer](v T) string { return strings.ToLower(v.String()) }

// without is lower without what each of its values begins with.
func without[T fmt.Stringer](prefix string) func(T) string {
	return func(v T) string { return strings.TrimPrefix(lower(v), prefix) }
}

func sorted(values []string) string {
	return strings.Join(slices.Sorted(slices.Values(values)), ", ")
}
