package pressonesim

import (
	"encoding/json"
	"net/http"
)

// garbled is the answer cut off in the middle. Before an effect there is none
// to cut, so it begins like one.
func garbled(c *call, rp *reply) *reply {
	body := []byte(`{"data":{"id":96`)
	if rp != nil {
		body = rp.body[:len(rp.body)/2]
	} else if c.form.get("package_id") != "" {
		body = []byte(`{"data":{"package_id":"` + c.form.get("package_id"))
	}
	return &reply{status: http.StatusOK, contentType: "application/json", body: body}
}

// withoutID is the answer without the id of its data, or of each element.
func withoutID(c *call, rp *reply) *reply {
	var tree map[string]any
	if rp == nil || json.Unmarshal(rp.body, &tree) != nil {
		return c.ok(map[string]any{"package_id": c.form.get("package_id"), "currency": "USD"})
	}
	switch data := tree["data"].(type) {
	case map[string]any:
		delete(data, "id")
	case []any:
		for _, v := range data {
			if m, ok := v.(map[string]any); ok {
				delete(m, "id")
			}
		}
	}
	return jsonReply(http.StatusOK, tree)
}
