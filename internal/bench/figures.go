package bench

import (
	"encoding/json"
	"fmt"
)

// Figures is what a run has measured, or the medians of several. Everything "per saga" is
// divided by N; the processes are worker (in CPU all of them, else worker-1 and
// so on), publisher, postgres, nats, provider and bench.
type Figures struct {
	Seconds        float64 `json:"seconds"`                 // from the release, or the first request, to the last result
	SagasPerSecond float64 `json:"sagas_per_second"`        // N in Seconds
	SteadyRate     float64 `json:"steady_sagas_per_second"` // between the first tenth and the last
	// With a rate: from just before a request is published to the arrival of its result.
	Latency *Latency `json:"latency_ms,omitempty"`

	Commits       float64 `json:"commits_per_saga"`
	WALBytes      float64 `json:"wal_bytes_per_saga"`
	PageImages    float64 `json:"full_page_images_per_saga"`
	WALSyncs      float64 `json:"wal_syncs_per_saga"`
	ProviderCalls float64 `json:"provider_calls_per_saga"`

	CPU          map[string]float64 `json:"cpu_seconds_per_1000_sagas"` // by process
	PeakMemory   map[string]float64 `json:"peak_memory_bytes"`          // by process
	StartMillis  map[string]float64 `json:"start_ms"`                   // from the start of the process to /readyz
	Tables       map[string]Table   `json:"rows_per_saga"`              // by table; scans too
	Calls        map[string]float64 `json:"provider_calls_per_saga_by_endpoint"`
	ForeignCores float64            `json:"foreign_cores"` // taken by programs that are not of this bench
	StolenCores  float64            `json:"stolen_cores"`  // taken by other machines on the same host
}

// Latency is in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Late is how much later than it should have been a request was published at the most.
	Late float64 `json:"published_late"`
}

// medianOf is, figure by figure, the median of all; where some lack a figure, of those that
// have it.
func medianOf(all []Figures) (Figures, error) {
	var trees []any
	for _, f := range all {
		text, err := json.Marshal(f)
		if err != nil {
			return Figures{}, fmt.Errorf("bench: %w", err)
		}
		var tree any
		if err := json.Unmarshal(text, &tree); err != nil {
			return Figures{}, fmt.Errorf("bench: %w", err)
		}
		trees = append(trees, tree)
	}
	text, err := json.Marshal(medianTree(trees))
	if err != nil {
		return Figures{}, fmt.Errorf("bench: %w", err)
	}
	var f Figures
	err = json.Unmarshal(text, &f)
	return f, err
}

// medianTree merges JSON values of one shape.
func medianTree(trees []any) any {
	var numbers []float64
	members := map[string][]any{}
	for _, tree := range trees {
		switch v := tree.(type) {
		case float64:
			numbers = append(numbers, v)
		case map[string]any:
			for name, member := range v {
				members[name] = append(members[name], member)
			}
		}
	}
	switch {
	case len(numbers) > 0:
		return median(numbers)
	case len(members) > 0:
		merged := map[string]any{}
		for name, values := range members {
			merged[name] = medianTree(values)
		}
		return merged
	}
	return nil
}
