package pynum

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strconv"
	"testing"
)

func TestNumbersEqualCPython(t *testing.T) {
	f, err := os.Open("testdata/numbers.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Literals [][2]*string
		Means    [][2]json.RawMessage
		Halves   [][3]string
		Reprs    [][2]string
	}
	if err := json.NewDecoder(z).Decode(&golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Literals) < 2000 || len(golden.Means) < 2900 || len(golden.Halves) < 1500 || len(golden.Reprs) < 1900 {
		t.Fatalf("only %d literals, %d means, %d halves, %d floats", len(golden.Literals), len(golden.Means), len(golden.Halves), len(golden.Reprs))
	}
	parse := func(s string) Number {
		t.Helper()
		n, err := ParseNumber(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	print := func(n Number, err error) string {
		switch {
		case errors.Is(err, ErrOverflow):
			return "overflow"
		case err != nil:
			t.Fatal(err)
		}
		return n.String()
	}
	for _, c := range golden.Literals {
		n, err := ParseNumber(*c[0])
		switch {
		case (err != nil) != (c[1] == nil):
			t.Errorf("%s: %v, Python reads it: %v", *c[0], err, c[1] != nil)
		case err == nil && *c[1] == "int":
			if !n.IsInt() || n.String() != *c[0] {
				t.Errorf("an int of %d digits is not read", len(*c[0]))
			}
		case err == nil && n.String() != *c[1]:
			t.Errorf("%s: %s, want %s", *c[0], n, *c[1])
		}
	}
	for _, c := range golden.Means {
		var texts []string
		var want string
		if json.Unmarshal(c[0], &texts) != nil || json.Unmarshal(c[1], &want) != nil {
			t.Fatalf("%s", c)
		}
		var ns []Number
		for _, s := range texts {
			ns = append(ns, parse(s))
		}
		if got := print(MeanOf(ns)); got != want {
			t.Errorf("mean of %v: %s, want %s", texts, got, want)
		}
	}
	for _, c := range golden.Halves {
		if got := print(HalfSum(parse(c[0]), parse(c[1]))); got != c[2] {
			t.Errorf("(%s + %s) / 2: %s, want %s", c[0], c[1], got, c[2])
		}
	}
	for _, c := range golden.Reprs {
		bits, err := strconv.ParseUint(c[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := FloatRepr(math.Float64frombits(bits)); got != c[1] {
			t.Errorf("repr of %s: %s, want %s", c[0], got, c[1])
		}
	}
}

func TestNumbersThatAreNone(t *testing.T) {
	for _, s := range []string{"", ".", ".5", "-1", "1e5", "1.2.3", "٥", "５", " 5", "1_0"} {
		if n, err := ParseNumber(s); err == nil {
			t.Errorf("%q is %s", s, n)
		}
	}
	if _, err := MeanOf(nil); err == nil {
		t.Error("a mean of nothing")
	}
	if (Number{}).String() != "0" || !(Number{}).IsInt() {
		t.Error("the zero value is no 0")
	}
}
