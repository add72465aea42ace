package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Variable is one environment variable, as the tags of [Config] describe it.
type Variable struct {
	Name     string
	Default  string // empty: none
	Meaning  string
	Example  string // a right value
	NeededBy []Need // who does not start without it
	Secret   bool   // its value is never printed whole
	File     bool   // may also be given as <Name>_FILE

	field string // of Config
	index int
}

// Variables lists every variable, in the order of [Config].
func Variables() []Variable {
	var all []Variable
	for f := range reflect.TypeFor[Config]().Fields() {
		v := Variable{
			Name:    f.Tag.Get("env"),
			Default: f.Tag.Get("envDefault"),
			Meaning: f.Tag.Get("help"),
			Example: f.Tag.Get("example"),
			File:    f.Tag.Get("file") == "true",
			field:   f.Name,
			index:   f.Index[0],
		}
		switch f.Type {
		case reflect.TypeFor[Secret](), reflect.TypeFor[[]Secret](), reflect.TypeFor[URL]():
			v.Secret = true
		}
		if v.Example == "" {
			v.Example = v.Default
		}
		if need := f.Tag.Get("need"); need != "" {
			for n := range strings.SplitSeq(need, ",") {
				v.NeededBy = append(v.NeededBy, Need(n))
			}
		}
		all = append(all, v)
	}
	return all
}

// Print writes every variable as NAME=value, one a line, without secrets.
func (c Config) Print(w io.Writer) error {
	fields := reflect.ValueOf(c)
	for _, v := range Variables() {
		var shown string
		switch value := fields.Field(v.index).Interface().(type) {
		case []string:
			shown = strings.Join(value, ",")
		case []Secret:
			parts := make([]string, len(value))
			for i, s := range value {
				parts[i] = s.String()
			}
			shown = strings.Join(parts, ",")
		default:
			shown = fmt.Sprint(value)
		}
		if _, err := fmt.Fprintf(w, "%s=%s\n", v.Name, shown); err != nil {
			return err
		}
	}
	return nil
}

// String is what Print writes.
func (c Config) String() string {
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		return err.Error() // a strings.Builder does not fail
	}
	return b.String()
}
