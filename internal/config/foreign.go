package config

// Foreign is an environment variable that is not ours: Go's runtime or OpenTelemetry's library
// reads it from the environment itself. It has no _FILE, is not checked, and is not printed.
type Foreign struct {
	Name    string
	Meaning string
	Here    string // what it is here, or a right value; may be empty
	Secret  bool
}

// Tracing are OpenTelemetry's variables that matter. The first four decide whether there are traces.
func Tracing() []Foreign {
	return []Foreign{
		{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Meaning: "the collector", Here: "http://collector:4318"},
		{Name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Meaning: "the same for traces alone, with the path", Here: "http://collector:4318/v1/traces"},
		{Name: "OTEL_TRACES_EXPORTER", Meaning: "`otlp`, `console` or `none`", Here: "otlp"},
		{Name: "OTEL_SDK_DISABLED", Meaning: "`true`: no traces, whatever else is set", Here: "false"},
		{Name: "OTEL_EXPORTER_OTLP_PROTOCOL", Meaning: "`http/protobuf`, or `grpc` (then the port is usually 4317)", Here: "http/protobuf"},
		{Name: "OTEL_EXPORTER_OTLP_HEADERS", Meaning: "what the collector wants to know, such as a key: a secret", Secret: true},
		{Name: "OTEL_EXPORTER_OTLP_CERTIFICATE", Meaning: "path of the authorities that the collector's certificate is checked against"},
		{Name: "OTEL_SERVICE_NAME", Meaning: "who we are", Here: "esimflow-worker"},
		{Name: "OTEL_RESOURCE_ATTRIBUTES", Meaning: "what else is said of us", Here: "deployment.environment=production"},
		{
			Name: "OTEL_TRACES_SAMPLER", Here: "parentbased_always_on",
			Meaning: "how many traces are kept. Each step of a saga is a trace, and is decided on alone, whatever the request's `traceparent` says",
		},
		{Name: "OTEL_TRACES_SAMPLER_ARG", Meaning: "the share, for `traceidratio`", Here: "0.1"},
		{Name: "OTEL_BSP_MAX_QUEUE_SIZE", Meaning: "spans that wait to be sent; above that they are dropped, and nobody waits", Here: "2048"},
	}
}

// Runtime are the variables of Go's runtime that matter in a container.
func Runtime() []Foreign {
	return []Foreign{
		{Name: "GOMEMLIMIT", Meaning: "memory above which garbage is collected harder: some nine tenths of the container's limit", Here: "450MiB"},
		{Name: "GOGC", Meaning: "how much garbage there may be, in percent of what is alive; the programs set 200 themselves", Here: "200"},
		{Name: "GOMAXPROCS", Meaning: "processors in use; all by default, which is right where there is no limit to them"},
	}
}
