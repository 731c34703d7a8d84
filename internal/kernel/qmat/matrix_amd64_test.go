package qmat

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"leolm/internal/kernel/amx"
	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

// inModel runs a kernel in the model, where it reaches the operands of a and nothing else. The result may be on the
// stack, which moves: the model has a copy of it.
func inModel(t *testing.T, p *amx.Program, name string, d tensor.DType, n int, a *args) {
	f := &formats[d]
	m := amx.NewMachine(p)
	b := *a
	width := a.panels * PanelRows
	out := make([]float32, n*width)
	for r := range n {
		copy(out[r*width:], unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(a.dst), uintptr(r)*a.ldd)), width))
	}
	b.dst, b.ldd = &out[0], uintptr(4*width)
	m.Map(unsafe.Slice((*byte)(unsafe.Pointer(&out[0])), 4*len(out)))
	m.Map(unsafe.Slice(a.w, a.panels*a.recs*f.size))
	for block := range a.recs * f.blocks {
		m.Map(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(a.x), uintptr(block)*a.step)), n*recordSize))
		if a.high != nil {
			m.Map(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(a.high), uintptr(block)*a.highStep)), n*highSize))
		}
	}
	if a.table != nil {
		m.Map(unsafe.Slice(a.table, len(map[bool][]byte{false: iq4Table[:], true: nf4Table[:]}[d == tensor.NF4])))
	}
	if a.config != nil {
		m.Map(unsafe.Slice(a.config, amx.ConfigBytes))
	}
	at := m.Map(unsafe.Slice((*byte)(unsafe.Pointer(&b)), unsafe.Sizeof(b)))
	if err := m.Run(name, at); err != nil {
		t.Fatal(err)
	}
	for r := range n {
		copy(unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(a.dst), uintptr(r)*a.ldd)), width), out[r*width:])
	}
}

// useModel makes the level amx the active one for the time of a test, in the model.
func useModel(t *testing.T) {
	p, err := amx.ParseFile("matrix_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	level, model := active, matrixModel
	t.Cleanup(func() { active, matrixModel = level, model })
	active = matrix
	matrixModel = func(k kernelID, a *args) {
		d, n := tensor.DType(k>>8), int(k&0xff)
		inModel(t, p, fmt.Sprintf("mul%sAMX%d", kernelNames[d], n), d, n, a)
	}
}

var kernelNames = map[tensor.DType]string{tensor.Q4_0: "Q4_0", tensor.Q4_1: "Q4_1", tensor.Q5_0: "Q5_0", tensor.Q5_1: "Q5_1", tensor.Q8_0: "Q8_0", tensor.IQ4_NL: "IQ4_NL",
	tensor.Q2_K: "Q2_K", tensor.Q3_K: "Q3_K", tensor.Q4_K: "Q4_K", tensor.Q5_K: "Q5_K", tensor.Q6_K: "Q6_K", tensor.NF4: "NF4"}

// TestMatrixBits: on the matrix units, in the model and on a processor that has them, a product has the bits of the level
// without them, whole and in parts that are added.
func TestMatrixBits(t *testing.T) {
	other := choose(cpu.Active &^ cpu.AMX)
	if other == &generic {
		t.Skip("needs kernels of another level: the generic one rounds twice in rare cases")
	}
	for _, place := range []string{"model", "processor"} {
		for _, d := range allTypes {
			t.Run(place+"/"+d.String(), func(t *testing.T) {
				if place == "model" {
					useModel(t)
				} else {
					if !cpu.Detected.Has(cpu.AMX) {
						t.Skip("needs a processor with matrix units and leave to use them (leo version says which)")
					}
					saved := active
					defer func() { active = saved }()
				}
				checkMatrix(t, d, other)
			})
		}
	}
}

// checkMatrix compares products of type d on the matrix units with those of another level.
func checkMatrix(t *testing.T, d tensor.DType, other *level) {
	ran := 0
	if run := matrixModel; run != nil {
		matrixModel = func(k kernelID, a *args) { ran++; run(k, a) }
	}
	rng := rand.New(rand.NewPCG(11, uint64(d)))
	for _, s := range []struct{ m, n, blocks int }{{16, 16, 1}, {16, 32, 5}, {31, 20, 2}, {8, 17, 3}, {12, 16, 4}, {10, 16, 7}} {
		k := s.blocks * max(32, d.BlockLen())
		if d.BlockLen() == 256 {
			k = (s.blocks + 2) / 3 * 256
		}
		w := pack(t, d, randomWeights(rng, d, s.n, k, s.blocks%2 == 0), k)
		x := activations(rng, s.m, k)
		active = other
		want := product(w, x, s.m)
		active = matrix
		before := ran
		same(t, fmt.Sprint(s), product(w, x, s.m), want)
		if matrixModel != nil && ran == before {
			t.Errorf("%v: no kernel of the matrix units ran", s)
		}
		var a Acts
		a.Quantize(x, s.m, k)
		sum, out := make([]float32, s.m*s.n), make([]float32, s.m*s.n)
		for i := range out {
			out[i] = float32(rng.NormFloat64())
			sum[i] = want[i] + out[i]
		}
		for p := range w.Panels() {
			Mul(out, s.n, w, &a, p, p+1, 0, a.Tiles(), true)
		}
		same(t, fmt.Sprint(s, " added"), out, sum)
	}
}

// TestModelAgainstProcessor: the model's vector instructions give the bits of the processor's, in kernels that both can
// run.
func TestModelAgainstProcessor(t *testing.T) {
	if !cpu.Detected.Has(cpu.VNNI) {
		t.Skip("needs a processor with VNNI")
	}
	p, err := amx.ParseFile("vnni_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	saved := active
	defer func() { active = saved }()
	active = choose(cpu.AVX2 | cpu.AVX512 | cpu.VNNI)
	for _, d := range allTypes {
		rng := rand.New(rand.NewPCG(12, uint64(d)))
		k := 2 * max(32, d.BlockLen())
		w := pack(t, d, randomWeights(rng, d, 16, k, true), k)
		for _, m := range []int{1, 4, 12} {
			var a Acts
			x := activations(rng, m, k)
			a.Quantize(x, m, k)
			data, padded, _ := a.tile(0)
			got := make([]float32, m*16)
			arg := args{dst: &got[0], w: &w.Data[0], x: &data[0], ldd: 64, step: uintptr(padded) * recordSize, panels: 1, recs: w.Cols / (32 * formats[d].blocks), table: table(d)}
			inModel(t, p, fmt.Sprintf("mul%sVNNI%d", kernelNames[d], m), d, m, &arg)
			if want := product(w, x, m); !slices.Equal(asBits(got), asBits(want)) {
				t.Errorf("%v, %d rows: the model and the processor differ", d, m)
			}
		}
	}
}

func asBits(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
