package ops

import (
	"net/http"
	"strings"

	"esimflow/internal/message"
	"esimflow/internal/pressone"
)

// moveGate pauses or resumes a lane or a kind.
func (c *console) moveGate(w http.ResponseWriter, r *http.Request) error {
	by := outcomeOf(r).by
	var t pressone.Target
	switch what, name, _ := strings.Cut(r.PostFormValue("what"), " "); what {
	case "lane":
		t.Lane = pressone.Lane(name)
	case "kind":
		t.Kind = message.Kind(name)
	}
	if err := t.Check(); err != nil {
		return usageError(err.Error())
	}
	var err error
	did := "paused"
	switch r.PostFormValue("do") {
	case "pause":
		_, err = c.Gate.Pause(r.Context(), t, by.Actor, by.Reason)
	case "resume":
		did, err = "resumed", c.Gate.Resume(r.Context(), t, by.Actor, by.Reason)
	default:
		return usageError("the form does not say whether to pause or to resume")
	}
	if err != nil {
		return err
	}
	c.Log.WarnContext(r.Context(), "the gate was moved", "did", did, "what", t.String(), "actor", by.Actor, "reason", by.Reason)
	c.back(w, r, "/", did)
	return nil
}
