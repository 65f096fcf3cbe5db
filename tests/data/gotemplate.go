// Renders the templates of gotemplate.jsonl with Go's own text/template and the functions that docker adds:
//
//	go run gotemplate.go < gotemplate.jsonl > new && mv new gotemplate.jsonl
//
// A line {"value": …} is what the templates after it are given; a line [template, output] is rendered anew, null
// standing for an error.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

var functions = template.FuncMap{
	"json": func(v any) string {
		buf := &bytes.Buffer{}
		enc := json.NewEncoder(buf)
		enc.SetEscapeHTML(false)
		enc.Encode(v)
		return strings.TrimSpace(buf.String())
	},
	"split": strings.Split, "join": strings.Join, "title": strings.Title, "lower": strings.ToLower, "upper": strings.ToUpper,
	"pad": func(s string, p, q int) string {
		if s == "" {
			return s
		}
		return strings.Repeat(" ", p) + s + strings.Repeat(" ", q)
	},
	"truncate": func(s string, n int) string {
		if len(s) < n {
			return s
		}
		return s[:n]
	},
}

// typed makes of JSON what docker's structures hold: ints, lists and maps of strings.
func typed(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		f, _ := v.Float64()
		return f
	case []any:
		words := []string{}
		for i := range v {
			v[i] = typed(v[i])
			if s, ok := v[i].(string); ok {
				words = append(words, s)
			}
		}
		if len(words) == len(v) && len(v) > 0 {
			return words
		}
		return v
	case map[string]any:
		words := map[string]string{}
		for k := range v {
			v[k] = typed(v[k])
			if s, ok := v[k].(string); ok {
				words[k] = s
			}
		}
		if len(words) == len(v) {
			return words
		}
		return v
	}
	return v
}

func render(text string, value any) (output any) {
	defer func() {
		if recover() != nil {
			output = nil
		}
	}()
	t, err := template.New("").Funcs(functions).Parse(text)
	if err != nil {
		return nil
	}
	var out bytes.Buffer
	if err := t.Execute(&out, value); err != nil {
		return nil
	}
	return out.String()
}

func main() {
	var value any
	lines := bufio.NewReader(os.Stdin)
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		if line[0] == '[' {
			var pair [2]any
			if err := json.Unmarshal(line, &pair); err != nil {
				panic(err)
			}
			enc.Encode([2]any{pair[0], render(pair[0].(string), value)})
			continue
		}
		os.Stdout.Write(line)
		var given struct{ Value any }
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		if err := dec.Decode(&given); err != nil {
			panic(err)
		}
		value = typed(given.Value)
	}
}
