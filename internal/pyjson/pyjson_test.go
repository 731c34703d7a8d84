package pyjson

import (
	"encoding/json"
	"testing"
)

func TestStandard(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":Infinity,"b":-Infinity,"c":NaN}`: `{"a":1e308,"b":-1e308,"c":"NaN"}`,
		`[0.0, Infinity]`:                      `[0.0, 1e308]`,
		`Infinity`:                             `1e308`,
		`{"NaN":"Infinity \" NaN","x":1}`:      `{"NaN":"Infinity \" NaN","x":1}`,
		`{"a":"\\","b":NaN}`:                   `{"a":"\\","b":"NaN"}`,
		`{"a":Infinityx,"b":xNaN,"c":NaN1}`:    `{"a":Infinityx,"b":xNaN,"c":NaN1}`,
		`{"a":"NaN`:                            `{"a":"NaN`,
		`{"a":1}`:                              `{"a":1}`,
	} {
		if got := string(Standard([]byte(in))); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
}

// Standard JSON stays what it is.
func FuzzStandard(f *testing.F) {
	f.Add([]byte(`{"NaN":["Infinity",1,"\"NaN"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := Standard(data)
		if json.Valid(data) && string(got) != string(data) {
			t.Fatalf("%q became %q", data, got)
		}
	})
}
