package audit

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
	"esimflow/internal/saga"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	const iccid, other = "8934000000000008728", "8934000000000000001"
	owner := &kin{ID: uuid.New(), Kind: message.Order, State: saga.Completed, OrderID: 1}
	in := func(state saga.State, order int64) []kin {
		return []kin{{ID: uuid.New(), State: state, OrderID: order}}
	}
	topup := func(state saga.State, iccid string) kin {
		return kin{ID: uuid.New(), Kind: message.Topup, State: state, StoppedIn: saga.Unknown, PackageID: "t", ICCID: iccid}
	}
	named := func(state saga.State, order int64) kinship {
		return kinship{named: in(state, order), exact: true, minted: true}
	}
	order := pressone.Order{ID: 1, Type: "sim", Status: "completed"}
	failed := pressone.Order{ID: 1, Type: "sim", Status: "failed"}
	refunded := pressone.Order{ID: 1, Type: "sim", Status: "refunded"}
	nameless := pressone.Order{ID: 1, Type: "topup", PackageID: "t", Status: "completed"}
	naming := nameless
	naming.Description = new("Topup (" + iccid + ")")

	tests := []struct {
		what  string
		order pressone.Order
		kin   kinship
		want  string // the kind, and what is done
		why   string
	}{
		{"its saga owns it", order, kinship{owner: owner}, "fine", ""},
		{"its saga owns it, and PressOne refunded it", refunded, kinship{owner: owner}, "fine", ""},
		{"its saga owns it, and PressOne says it failed", failed, kinship{owner: owner}, "phantom", "failed"},
		{"it failed", failed, kinship{}, "free", ""},
		{"it failed, and has a reference", failed, named(saga.Pending, 0), "free", ""},
		{"it was refunded", refunded, kinship{}, "free", ""},
		{"somebody bought it by hand", order, kinship{}, "orphan", "nobody here"},
		{"its saga is not there", order, kinship{minted: true, exact: true}, "orphan", "restored"},
		{"its saga is being submitted", order, named(saga.Submitting, 0), "unsettled", ""},
		{"its saga is being looked up", order, named(saga.Unknown, 0), "unsettled", ""},
		{"its saga is about to buy it again", order, named(saga.Pending, 0), "orphan adopt", "knows nothing"},
		{"its saga has stopped", order, named(saga.DeadLettered, 0), "orphan adopt", "knows nothing"},
		{"its saga was discarded", order, named(saga.Discarded, 0), "orphan", "discarded"},
		{"its saga owns another one", order, named(saga.Completed, 2), "double", "owns order 2"},
		{"its saga is in a state of another version", order, named("quarantined", 0), "orphan", "quarantined"},
		{"more than the reference", order, kinship{named: in(saga.DeadLettered, 0)}, "orphan", "and more"},
		{"more than the reference of a saga that owns another", order, kinship{named: in(saga.Polling, 2)}, "double", "owns order 2"},
		{"two references", order, kinship{named: append(in(saga.Pending, 0), in(saga.Pending, 0)...)}, "orphan", "several"},
		{"a top-up that nobody asked for", nameless, kinship{}, "orphan", "nobody here"},
		{"a top-up while one is looked up", nameless, kinship{rivals: []kin{topup(saga.Unknown, iccid)}}, "unsettled", ""},
		{"a top-up of this eSIM while another's is looked up", naming, kinship{rivals: []kin{topup(saga.Unknown, other)}}, "orphan", "nobody here"},
		{"a top-up of this eSIM while one is submitted", naming, kinship{rivals: []kin{topup(saga.Submitting, iccid)}}, "unsettled", ""},
		{"a top-up that one stopped saga could own", naming, kinship{rivals: []kin{topup(saga.DeadLettered, iccid), topup(saga.DeadLettered, other)}}, "orphan", "could be the top-up of a saga"},
		{"a top-up that two stopped sagas could own", nameless, kinship{rivals: []kin{topup(saga.DeadLettered, iccid), topup(saga.DeadLettered, other)}}, "orphan", "any of 2"},
		{"a top-up of another package", nameless, kinship{rivals: []kin{{State: saga.Unknown, PackageID: "u"}}}, "orphan", "nobody here"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			v := judge(tt.order, tt.kin)
			got := []string{string(v.kind)}
			for name, set := range map[string]bool{"adopt": v.adopt, "free": v.free, "unsettled": v.unsettled} {
				if set {
					got = append(got, name)
				}
			}
			text := strings.TrimSpace(strings.Join(got, " "))
			if text == "" {
				text = "fine"
			}
			require.Equal(t, tt.want, text)
			require.Contains(t, v.why, tt.why)
			require.Equal(t, v.kind != "", v.advice != "", "a finding says what to do")
		})
	}
}
