package pressonesim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// The admin endpoints speak JSON with durations as text ("1m30s"), while the Go
// structs hold plain time.Duration. encodeHuman and decodeHuman translate by
// the names of the fields concerned.
var durationNames = durationFields(Knobs{}, Fault{}, Chaos{}, Package{}, Limit{})

func durationFields(structs ...any) map[string]bool {
	names := make(map[string]bool)
	duration := reflect.TypeFor[time.Duration]()
	for _, s := range structs {
		for f := range reflect.TypeOf(s).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Type == duration || f.Type.Kind() == reflect.Map && f.Type.Elem() == duration {
				names[name] = true
			}
		}
	}
	return names
}

func encodeHuman(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	tree, err := decodeTree(raw)
	if err != nil {
		return nil, err
	}
	err = eachDuration(tree, false, func(v any) (any, error) {
		n, ok := v.(json.Number)
		if !ok {
			return v, nil
		}
		ns, err := n.Int64()
		return time.Duration(ns).String(), err
	})
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(tree, "", "  ")
}

// decodeHuman reads raw into v, whose present values stay where raw is silent.
// Unknown names are an error: a misspelt knob would otherwise do nothing.
func decodeHuman(raw []byte, v any) error {
	tree, err := decodeTree(raw)
	if err != nil {
		return err
	}
	err = eachDuration(tree, false, func(v any) (any, error) {
		text, ok := v.(string)
		if !ok {
			return v, nil
		}
		d, err := time.ParseDuration(text)
		return json.Number(fmt.Sprint(int64(d))), err
	})
	if err != nil {
		return err
	}
	if raw, err = json.Marshal(tree); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

func decodeTree(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	err := dec.Decode(&tree)
	return tree, err
}

// eachDuration replaces every value under a duration's name.
func eachDuration(tree any, inside bool, change func(any) (any, error)) error {
	switch t := tree.(type) {
	case []any:
		for _, v := range t {
			if err := eachDuration(v, inside, change); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, v := range t {
			hit := inside || durationNames[name]
			if _, nested := v.(map[string]any); nested || !hit {
				if err := eachDuration(v, hit, change); err != nil {
					return err
				}
				continue
			}
			changed, err := change(v)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			t[name] = changed
		}
	}
	return nil
}
