package main

import (
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

// streamFields compares what want sets. A limit that want leaves open is the operator's,
// and so is the number of replicas unless replicas says that it was asked for.
func streamFields(want jetstream.StreamConfig, replicas bool) []field[jetstream.StreamConfig] {
	type stream = jetstream.StreamConfig
	fields := []field[stream]{
		{
			name: "storage", fixed: true,
			show: func(s stream) string { return lower(s.Storage) },
			set:  func(to *stream, from stream) { to.Storage = from.Storage },
		},
		{
			name: "subjects",
			show: func(s stream) string { return sorted(s.Subjects) },
			set:  func(to *stream, from stream) { to.Subjects = from.Subjects },
		},
		{
			name: "retention",
			show: func(s stream) string { return lower(s.Retention) },
			set:  func(to *stream, from stream) { to.Retention = from.Retention },
		},
		{
			name: "discard",
			show: func(s stream) string { return strings.TrimPrefix(lower(s.Discard), "discard") },
			set:  func(to *stream, from stream) { to.Discard = from.Discard },
		},
		{
			name: "duplicate window",
			show: func(s stream) string { return s.Duplicates.String() },
			set:  func(to *stream, from stream) { to.Duplicates = from.Duplicates },
		},
		{
			name: "deletion denied", fixed: true,
			show: func(s stream) string { return strconv.FormatBool(s.DenyDelete) },
			set:  func(to *stream, from stream) { to.DenyDelete = from.DenyDelete },
		},
		{
			name: "sealed", fixed: true,
			show: func(s stream) string { return strconv.FormatBool(s.Sealed) },
			set:  func(to *stream, from stream) { to.Sealed = from.Sealed },
		},
		{
			name: "mirror of", fixed: true,
			show: func(s stream) string { return origins(s.Mirror) },
			set:  func(to *stream, from stream) { to.Mirror = from.Mirror },
		},
		{
			name: "sources",
			show: func(s stream) string { return origins(s.Sources...) },
			set:  func(to *stream, from stream) { to.Sources = from.Sources },
		},
		{
			name: "subject transform",
			show: func(s stream) string { return transformed(s.SubjectTransform) },
			set:  func(to *stream, from stream) { to.SubjectTransform = from.SubjectTransform },
		},
		{
			name: "persistence", fixed: true, // async acknowledges before it writes
			show: func(s stream) string { return lower(s.PersistMode) },
			set:  func(to *stream, from stream) { to.PersistMode = from.PersistMode },
		},
	}
	if replicas {
		fields = append(fields, field[stream]{
			name: "replicas",
			show: func(s stream) string { return strconv.Itoa(s.Replicas) },
			set:  func(to *stream, from stream) { to.Replicas = from.Replicas },
		})
	}
	if want.MaxMsgSize > 0 {
		fields = append(fields, field[stream]{
			name: "largest message",
			show: func(s stream) string { return strconv.Itoa(int(s.MaxMsgSize)) },
			set:  func(to *stream, from stream) { to.MaxMsgSize = from.MaxMsgSize },
		})
	}
	if want.MaxMsgsPerSubject > 0 {
		fields = append(fields, field[stream]{
			name: "messages per subject",
			show: func(s stream) string { return strconv.FormatInt(s.MaxMsgsPerSubject, 10) },
			set:  func(to *stream, from stream) { to.MaxMsgsPerSubject = from.MaxMsgsPerSubject },
		})
	}
	if want.AllowDirect {
		fields = append(fields, field[stream]{
			name: "direct access",
			show: func(s stream) string { return strconv.FormatBool(s.AllowDirect) },
			set:  func(to *stream, from stream) { to.AllowDirect = from.AllowDirect },
		})
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

var consumerFields = []field[jetstream.ConsumerConfig]{
	{
		name: "ack policy", fixed: true,
		show: func(c jetstream.ConsumerConfig) string { return strings.TrimPrefix(lower(c.AckPolicy), "ack") },
		set:  func(to *jetstream.ConsumerConfig, from jetstream.ConsumerConfig) { to.AckPolicy = from.AckPolicy },
	},
	{
		name: "deliver policy", fixed: true,
		show: func(c jetstream.ConsumerConfig) string { return c.DeliverPolicy.String() },
		set: func(to *jetstream.ConsumerConfig, from jetstream.ConsumerConfig) {
			to.DeliverPolicy = from.DeliverPolicy
		},
	},
	{
		name: "storage", fixed: true,
		show: func(c jetstream.ConsumerConfig) string {
			if c.MemoryStorage {
				return "memory"
			}
			return "file"
		},
		set: func(to *jetstream.ConsumerConfig, from jetstream.ConsumerConfig) {
			to.MemoryStorage = from.MemoryStorage
		},
	},
	{
		name: "filter",
		show: func(c jetstream.ConsumerConfig) string {
			subjects := c.FilterSubjects
			if c.FilterSubject != "" {
				subjects = append(slices.Clone(subjects), c.FilterSubject)
			}
			return sorted(subjects)
		},
		set: func(to *jetstream.ConsumerConfig, from jetstream.ConsumerConfig) {
			to.FilterSubject, to.FilterSubjects = from.FilterSubject, from.FilterSubjects
		},
	},
	{
		name: "deliveries",
		show: func(c jetstream.ConsumerConfig) string {
			if c.MaxDeliver <= 0 {
				return "unlimited"
			}
			return strconv.Itoa(c.MaxDeliver)
		},
		set: func(to *jetstream.ConsumerConfig, from jetstream.ConsumerConfig) { to.MaxDeliver = from.MaxDeliver },
	},
	{
		name: "headers only",
		show: func(c jetstream.ConsumerConfig) string { return strconv.FormatBool(c.HeadersOnly) },
		set:  func(to *jetstream.ConsumerConfig, from jetstream.ConsumerConfig) { to.HeadersOnly = from.HeadersOnly },
	},
	{
		name: "replay policy", fixed: true,
		show: func(c jetstream.ConsumerConfig) string { return lower(c.ReplayPolicy) },
		set: func(to *jetstream.ConsumerConfig, from jetstream.ConsumerConfig) {
			to.ReplayPolicy = from.ReplayPolicy
		},
	},
	{
		// A worker whose request is above a limit gets nothing, for ever.
		name: "limits of pull requests",
		show: pullLimits,
		set: func(to *jetstream.ConsumerConfig, from jetstream.ConsumerConfig) {
			to.MaxRequestBatch, to.MaxRequestExpires, to.MaxRequestMaxBytes = from.MaxRequestBatch, from.MaxRequestExpires, from.MaxRequestMaxBytes
		},
	},
	{
		// Workers name no group, and who names none gets nothing.
		name: "priority groups", fixed: true,
		show: func(c jetstream.ConsumerConfig) string { return orNone(sorted(c.PriorityGroups)) },
		set: func(to *jetstream.ConsumerConfig, from jetstream.ConsumerConfig) {
			to.PriorityGroups, to.PriorityPolicy = from.PriorityGroups, from.PriorityPolicy
		},
	},
	{
		name: "kept while idle",
		show: func(c jetstream.ConsumerConfig) string {
			if c.InactiveThreshold <= 0 {
				return "always"
			}
			return c.InactiveThreshold.String()
		},
		set: func(to *jetstream.ConsumerConfig, from jetstream.ConsumerConfig) {
			to.InactiveThreshold = from.InactiveThreshold
		},
	},
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

func lower(s interface{ String() string }) string { return strings.ToLower(s.String()) }

func sorted(values []string) string {
	return strings.Join(slices.Sorted(slices.Values(values)), ", ")
}
