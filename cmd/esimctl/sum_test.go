package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

// How sample traffic ended is a sentence for people and one value with --json, and an error
// if something did not end as it should.
func TestSumOfTraffic(t *testing.T) {
	t.Parallel()
	sim, err := pressonesim.Start(pressonesim.Config{})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	var out logBuffer
	c := &cli{out: &out}
	traffic := newTraffic(&dev{cli: c, sim: sim}, []sample{
		{kind: message.Order, id: "a", want: "33"}, {kind: message.Order, id: "b", want: "33"}, {kind: message.Topup, id: "c", want: "23"},
	})
	traffic.ends = map[string]string{"order a": "33", "order b": "33", "topup c": "23"}
	require.NoError(t, traffic.summarize())
	require.Contains(t, out.String(), "0 completed, 0 duplicate, 3 dead letters\ndead letters: 23 · 33 ×2\n")
	require.Contains(t, out.String(), "nothing was bought twice")

	var data logBuffer
	c.out, c.json = &data, true
	traffic.ends["topup c"] = "73"
	require.ErrorContains(t, traffic.summarize(), "c ended as 73 instead of 23")
	sum := fromJSON[trafficSum](t, data.String())
	require.Equal(t, map[string]int{"33": 2, "73": 1}, sum.DeadLetters)
	require.Equal(t, []string{"c ended as 73 instead of 23"}, sum.Wrong)
}
