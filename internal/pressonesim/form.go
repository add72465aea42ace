package pressonesim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"net/url"
	"strconv"
	"strings"
)

// form holds the fields of a POST, however it was encoded. The brackets of
// array fields are taken off: sharing_option[] is sharing_option.
type form map[string][]string

func (f form) get(name string) string {
	if v := f[name]; len(v) > 0 {
		return strings.TrimSpace(v[0])
	}
	return ""
}

// raw is get without trimming.
func (f form) raw(name string) string {
	if v := f[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

var errForm = errors.New("pressonesim: body cannot be read")

// parseForm takes multipart, urlencoded and JSON bodies (section 2).
func parseForm(contentType string, body []byte) (form, error) {
	f := make(form)
	if len(body) == 0 {
		return f, nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, errForm
	}
	switch media {
	case "multipart/form-data":
		mf, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).ReadForm(1 << 20)
		if err != nil {
			return nil, errForm
		}
		f.addAll(mf.Value)
		return f, mf.RemoveAll()
	case "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, errForm
		}
		f.addAll(values)
		return f, nil
	case "application/json":
		return f, f.addJSON(body)
	}
	return nil, errForm
}

func (f form) addAll(values map[string][]string) {
	for name, v := range values {
		name = strings.TrimSuffix(name, "[]")
		f[name] = append(f[name], v...)
	}
}

func (f form) addJSON(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var fields map[string]any
	if err := dec.Decode(&fields); err != nil {
		return errForm
	}
	for name, v := range fields {
		values, ok := v.([]any)
		if !ok {
			values = []any{v}
		}
		for _, v := range values {
			if v != nil {
				f.addAll(map[string][]string{name: {fmt.Sprint(v)}})
			}
		}
	}
	return nil
}

// whole reads a whole number from a field or query value.
func whole(text string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	return n, err == nil
}
