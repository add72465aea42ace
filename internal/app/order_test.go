package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressonesim"
)

func TestAnOrderIsBoughtOnceAndAnnounced(t *testing.T) {
	b := setup(t, pressonesim.Config{})
	b.worker()
	b.publisher()
	b.publish(message.Order, `{"request_id":"ord-1","package_id":"kallur-digital-7days-1gb","quantity":2,"metadata":{"customer":"c-19"}}`)

	e := b.result("ord-1", 1)
	require.Equal(t, "esimflow.order.completed.v1", e.Type)
	require.Len(t, e.Data["esims"], 2)
	require.Equal(t, map[string]any{"customer": "c-19"}, e.Data["metadata"])
	require.Equal(t, 1, b.sim.SoldCount())
}
