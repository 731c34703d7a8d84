package pyjson

import (
	"encoding/json"
	"math/big"
	"os"
	"strconv"
	"testing"
)

// stored rebuilds a value of golden.py.
func stored(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	var pair [2]json.RawMessage
	var kind, text string
	if err := json.Unmarshal(raw, &pair); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(pair[0], &kind); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(pair[1], &text)
	switch kind {
	case "const":
		return map[string]any{"null": nil, "true": true, "false": false}[text]
	case "int":
		n, _ := new(big.Int).SetString(text, 10)
		if n.IsInt64() && n.Int64() == int64(int(n.Int64())) {
			return int(n.Int64())
		}
		return n
	case "float":
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	case "text":
		return text
	case "object":
		var members [][2]json.RawMessage
		if err := json.Unmarshal(pair[1], &members); err != nil {
			t.Fatal(err)
		}
		o := Object{}
		for _, m := range members {
			var key string
			if err := json.Unmarshal(m[0], &key); err != nil {
				t.Fatal(err)
			}
			o.Set(key, stored(t, m[1]))
		}
		return o
	}
	var items []json.RawMessage
	if err := json.Unmarshal(pair[1], &items); err != nil {
		t.Fatal(err)
	}
	list := []any{}
	for _, item := range items {
		list = append(list, stored(t, item))
	}
	return list
}

func TestAppendWritesWhatPythonWrites(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden [][3]json.RawMessage
	if err := json.Unmarshal(data, &golden); err != nil || len(golden) < 700 {
		t.Fatal(len(golden), err)
	}
	for _, c := range golden {
		v := stored(t, c[0])
		for i, indent := range []int{0, 4} {
			var want string
			if err := json.Unmarshal(c[1+i], &want); err != nil {
				t.Fatal(err)
			}
			if got := string(Append(nil, v, indent)); got != want {
				t.Fatalf("indent %d: %s, want %s", indent, got, want)
			}
		}
	}
	if got := string(Append(nil, []string{"a", "ä"}, 4)); got != "[\n    \"a\",\n    \"\\u00e4\"\n]" {
		t.Error(got)
	}
}

func TestMembersKeepTheirOrder(t *testing.T) {
	got, err := Members([]byte(` {"b": 1, "a": [2, {"x": 3}], "b": null} `))
	if err != nil || len(got) != 2 || got[0].Key != "b" || string(got[0].Value) != "null" || got[1].Key != "a" {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{"", "[]", "{", `{"a": }`, `{"a": 1} x`, `{"a": 1}{}`, "{\"a\": \"\xff\"}", "null", `"a"`} {
		if got, err := Members([]byte(bad)); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

// Objects that are read are objects of JSON, and no object of JSON is refused.
func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"b": 1, "a": [2, {"x": 3}], "b": null}`))
	f.Add([]byte("{\"a\": \"\xff\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := Members(data)
		var m map[string]json.RawMessage
		plain := json.Unmarshal(data, &m)
		if err == nil && plain != nil || err == nil && len(m) != len(members) {
			t.Fatalf("%q: %d members, encoding/json has %d (%v)", data, len(members), len(m), plain)
		}
		for _, x := range members {
			if string(m[x.Key]) != string(x.Value) {
				t.Fatalf("%q: key %q is %s, encoding/json has %s", data, x.Key, x.Value, m[x.Key])
			}
		}
	})
}
