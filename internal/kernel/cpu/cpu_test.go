package cpu

import (
	"strings"
	"testing"
)

const all = AVX2 | AVX512 | VNNI | BF16 | Wide

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name       string
		best, want Features
		fails      bool
	}{
		{"", all, all, false},
		{"generic", all, Generic, false},
		{" AVX2 ", all, AVX2, false},
		{"vnni", all, AVX2 | AVX512 | VNNI, false},
		{"bf16", all, all &^ Wide, false},
		{"wide", all &^ Wide, all &^ Wide, true},
		{"avx512", AVX2, AVX2, true},
		{"neon", all, all, true},
		{"avx2", NEON, NEON, true},
		{"neon", NEON, NEON, false},
		{"generic", NEON, Generic, false},
		{"sse9", AVX2 | AVX512 | VNNI, AVX2 | AVX512 | VNNI, true},
		{"amx", all | AMX, AVX2 | AVX512 | VNNI | AMX, false},
		{"amx", all, all, true},
		{"amx+bf16", all | AMX, all&^Wide | AMX, false},
		{"amx+bf16", AVX2 | AVX512 | VNNI | AMX, AVX2 | AVX512 | VNNI, true},
		{"", all | AMX, all, false},
		{"", AVX2 | AVXVNNI, AVX2 | AVXVNNI, false},
		{"", all | AVXVNNI, all, false},
		{"avxvnni", all | AVXVNNI, AVX2 | AVXVNNI, false},
		{"avxvnni", all, all, true},
		{"avx512+bf16+wide", all, all &^ VNNI, false},
		{"generic+vnni", all, VNNI, false},
		{"amx+", all | AMX, all, true},
		{"+bf16", all, all, true},
		{"amx+generic", all | AMX, all, true},
		// A processor that has one extension and not the one that usually comes before it.
		{"", AVX2 | AVX512 | BF16, AVX2 | AVX512 | BF16, false},
		{"bf16", AVX2 | AVX512 | BF16, AVX2 | AVX512 | BF16, true},
		{"avx512", AVX2 | AVX512 | BF16, AVX2 | AVX512, false},
	} {
		got, err := choose(c.name, c.best, Generic)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("choose(%q, %v) = %v, %v", c.name, c.best, got, err)
		}
	}
}

func TestSlowFeaturesAreLeftOut(t *testing.T) {
	const intel = AVX2 | AVX512 | VNNI | BF16
	for _, c := range []struct {
		name  string
		want  Features
		fails bool
	}{{"", intel &^ BF16, false}, {"bf16", intel, false}, {"vnni", intel &^ BF16, false}, {"wide", intel &^ BF16, true}, {"sse9", intel &^ BF16, true}} {
		if got, err := choose(c.name, intel, BF16); got != c.want || (err != nil) != c.fails {
			t.Errorf("%q: %v, %v", c.name, got, err)
		}
	}
}

func TestString(t *testing.T) {
	for f, want := range map[Features]string{
		Generic: "generic", AVX2: "avx2", AVX2 | AVX512: "avx512", AVX2 | AVX512 | VNNI: "vnni", all: "wide", all &^ Wide: "bf16", all &^ VNNI: "avx512+bf16+wide", NEON: "neon",
		AVX2 | AVX512 | BF16: "avx512+bf16", VNNI: "generic+vnni", AVX2 | AVX512 | VNNI | AMX: "amx", AVX2 | AVX512 | VNNI | BF16 | AMX: "amx+bf16",
		AVX2 | AVXVNNI: "avxvnni", AVX2 | AVX512 | AVXVNNI: "avx512+avxvnni",
	} {
		if got := f.String(); got != want {
			t.Errorf("%b is %q, want %q", f, got, want)
		}
		if got, ok := parse(want); got != f || !ok {
			t.Errorf("%q is %b, want %b", want, got, f)
		}
	}
	if got := (all | AVXVNNI).String(); got != "wide" { // VNNI is more
		t.Errorf("with AVX-VNNI it is %q", got)
	}
}

// TestWithheldIsSaid: who asks for what the system keeps back learns why.
func TestWithheldIsSaid(t *testing.T) {
	saved := Withheld
	defer func() { Withheld = saved }()
	Withheld = "amx: the system refuses the matrix units: operation not permitted"
	if _, err := choose("amx", all, Generic); err == nil || !strings.Contains(err.Error(), Withheld) {
		t.Error(err)
	}
	if _, err := choose("wide", all&^Wide, Generic); err == nil || strings.Contains(err.Error(), Withheld) {
		t.Error(err)
	}
}

func TestPresets(t *testing.T) {
	saved := Detected
	defer func() { Detected = saved }()
	for _, c := range []struct {
		have Features
		n    int
	}{{Generic, 1}, {AVX2, 2}, {all, 6}, {all &^ Wide, 5}, {AVX2 | AVX512 | BF16, 4}, {NEON, 2}, {AVX2 | AVX512 | VNNI | AMX, 5}, {AVX2 | AVX512 | VNNI | BF16 | AMX, 7}, {AVX2 | AVXVNNI, 3}, {all | AVXVNNI, 7}} {
		Detected = c.have
		got := Presets()
		if len(got) != c.n || got[0] != Generic || got[len(got)-1] != c.have.whole() {
			t.Errorf("%v: presets %v", c.have, got)
		}
	}
}
