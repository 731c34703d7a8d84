package attn

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"

	"leolm/internal/kernel/amx/amxtest"
	"leolm/internal/kernel/cpu"
	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

// problem is one sequence of one key/value head with everything in f64 too.
type problem struct {
	dim, heads, keys, pos, n, window int
	q, k, v, do                      []float32
	scale                            float32
}

func newProblem(r *rand.Rand, dim, heads, keys, pos, window int) *problem {
	p := &problem{dim: dim, heads: heads, keys: keys, pos: pos, n: keys - pos, window: window, scale: float32(1 / math.Sqrt(float64(dim)))}
	for _, x := range []struct {
		dst *[]float32
		n   int
	}{{&p.q, p.n * heads * dim}, {&p.k, keys * dim}, {&p.v, keys * dim}, {&p.do, p.n * heads * dim}} {
		*x.dst = make([]float32, x.n)
		for i := range *x.dst {
			(*x.dst)[i] = float32(r.NormFloat64())
			if r.IntN(200) == 0 {
				(*x.dst)[i] *= 20
			}
		}
	}
	return p
}

func (p *problem) block() *Block {
	return &Block{Dim: p.dim, Scale: p.scale, Window: p.window, Q: p.q, QToken: p.heads * p.dim, QHead: p.dim, N: p.n, Heads: p.heads, Pos: p.pos,
		Runs: []Run{{N: p.keys, K: Rows{Type: tensor.F32, F32: p.k, Stride: p.dim}, V: Rows{Type: tensor.F32, F32: p.v, Stride: p.dim}}}}
}

func (p *problem) output() *Output {
	return &Output{O: make([]float32, p.n*p.heads*p.dim), Token: p.heads * p.dim, Head: p.dim, LSE: make([]float32, p.n*p.heads), LSEToken: p.heads}
}

// reference is the definition in float64, with the gradients of Σ O·dO.
func (p *problem) reference() (o, lse, dq, dk, dv []float64) {
	o, lse = make([]float64, len(p.q)), make([]float64, p.n*p.heads)
	dq, dk, dv = make([]float64, len(p.q)), make([]float64, len(p.k)), make([]float64, len(p.v))
	pr := make([]float64, p.keys)
	for i := range p.n {
		for h := range p.heads {
			at := (i*p.heads + h) * p.dim
			hi := p.pos + i + 1
			lo := 0
			if p.window > 0 {
				lo = max(0, hi-p.window)
			}
			top := math.Inf(-1)
			for s := lo; s < hi; s++ {
				pr[s] = 0
				for d := range p.dim {
					pr[s] += float64(p.q[at+d]) * float64(p.k[s*p.dim+d])
				}
				pr[s] *= float64(p.scale)
				top = max(top, pr[s])
			}
			sum := 0.0
			for s := lo; s < hi; s++ {
				sum += math.Exp(pr[s] - top)
			}
			lse[i*p.heads+h] = top + math.Log(sum)
			delta := 0.0
			for s := lo; s < hi; s++ {
				pr[s] = math.Exp(pr[s]-top) / sum
				for d := range p.dim {
					o[at+d] += pr[s] * float64(p.v[s*p.dim+d])
				}
			}
			for d := range p.dim {
				delta += o[at+d] * float64(p.do[at+d])
			}
			for s := lo; s < hi; s++ {
				dp := 0.0
				for d := range p.dim {
					dp += float64(p.do[at+d]) * float64(p.v[s*p.dim+d])
					dv[s*p.dim+d] += pr[s] * float64(p.do[at+d])
				}
				ds := pr[s] * (dp - delta) * float64(p.scale)
				for d := range p.dim {
					dq[at+d] += ds * float64(p.k[s*p.dim+d])
					dk[s*p.dim+d] += ds * float64(p.q[at+d])
				}
			}
		}
	}
	return
}

// relative is ‖got−want‖/‖want‖.
func relative(got []float32, want []float64) float64 {
	var num, den float64
	for i, w := range want {
		num += (float64(got[i]) - w) * (float64(got[i]) - w)
		den += w * w
	}
	return math.Sqrt(num / (den + 1e-300))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var cases = []struct{ dim, heads, keys, pos, window int }{
	{8, 1, 1, 0, 0}, {8, 2, 5, 0, 0}, {16, 1, 300, 0, 0}, {32, 3, 70, 20, 0}, {48, 1, 257, 255, 0}, {64, 4, 530, 500, 0},
	{64, 1, 600, 0, 100}, {80, 2, 400, 100, 300}, {128, 1, 520, 519, 0}, {256, 1, 64, 0, 0}, {20, 2, 40, 0, 1}, {64, 60, 33, 30, 0}, {96, 5, 780, 700, 256},
}

func TestForwardBackward(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, c := range cases {
		p := newProblem(r, c.dim, c.heads, c.keys, c.pos, c.window)
		b, out := p.block(), p.output()
		var s Scratch
		must(t, b.Forward(out, &s))
		o, lse, dq, dk, dv := p.reference()
		g := &Grad{Output: *out, DO: p.do, DQ: make([]float32, len(p.q)), DK: make([]float32, len(p.k)), DV: make([]float32, len(p.v)), DKStride: p.dim}
		must(t, b.Backward(g, &s))
		for _, x := range []struct {
			name string
			got  []float32
			want []float64
			tol  float64
		}{{"O", out.O, o, 3e-6}, {"LSE", out.LSE, lse, 1e-6}, {"dQ", g.DQ, dq, 6e-6}, {"dK", g.DK, dk, 6e-6}, {"dV", g.DV, dv, 3e-6}} {
			// One visible key: dS is zero in exact arithmetic, so only rounding remains.
			if (x.name == "dQ" || x.name == "dK") && (c.keys == 1 || c.window == 1) {
				continue
			}
			if e := relative(x.got, x.want); !(e < x.tol) {
				t.Errorf("%+v: relative error of %s is %.2g, want < %.2g", c, x.name, e, x.tol)
			}
		}
	}
}

// half rounds the problem to bf16 and describes it to the bf16 way.
func (p *problem) half() (*Block, *Grad) {
	to := func(x []float32) []uint16 {
		h := make([]uint16, len(x))
		vec.BF16FromF32(h, x)
		vec.F32FromBF16(x, h)
		return h
	}
	b := p.block()
	b.Q, b.QH = nil, to(p.q)
	b.Runs = []Run{{N: p.keys, K: Rows{Type: tensor.BF16, Half: to(p.k), Stride: p.dim}, V: Rows{Type: tensor.BF16, Half: to(p.v), Stride: p.dim}}}
	out := p.output()
	out.O, out.OH = nil, make([]uint16, len(p.q))
	return b, &Grad{Output: *out, DO: p.do, DOH: to(p.do), DQ: make([]float32, len(p.q)), DK: make([]float32, len(p.k)), DV: make([]float32, len(p.v)), DKStride: p.dim}
}

// TestHalf: products in bf16 stay within the rounding of the weights, and a row has the same bits in any block.
func TestHalf(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for _, c := range cases {
		p := newProblem(r, c.dim, c.heads, c.keys, c.pos, c.window)
		b, g := p.half()
		var s Scratch
		must(t, b.Forward(&g.Output, &s))
		must(t, b.Backward(g, &s))
		o, lse, dq, dk, dv := p.reference()
		wide := make([]float32, len(g.OH))
		vec.F32FromBF16(wide, g.OH)
		for _, x := range []struct {
			name string
			got  []float32
			want []float64
			tol  float64
		}{{"O", wide, o, 4e-3}, {"LSE", g.LSE, lse, 1e-6}, {"dQ", g.DQ, dq, 1.5e-2}, {"dK", g.DK, dk, 1.5e-2}, {"dV", g.DV, dv, 4e-3}} {
			if (x.name == "dQ" || x.name == "dK") && (c.keys == 1 || c.window == 1) {
				continue
			}
			if e := relative(x.got, x.want); !(e < x.tol) {
				t.Errorf("%+v: relative error of %s is %.2g, want < %.2g", c, x.name, e, x.tol)
			}
		}
		i := r.IntN(p.n)
		one, out := *b, p.output()
		one.Pos, one.N, one.QH = p.pos+i, 1, b.QH[i*c.heads*c.dim:]
		out.O, out.OH = nil, make([]uint16, c.heads*c.dim)
		must(t, one.Forward(out, &s))
		if !slices.Equal(out.OH, g.OH[i*c.heads*c.dim:(i+1)*c.heads*c.dim]) {
			t.Errorf("%+v: token %d alone differs", c, i)
		}
	}
	p := newProblem(r, 16, 1, 20, 0, 0)
	b, g := p.half()
	b.Runs = p.block().Runs
	if b.Forward(&g.Output, new(Scratch)) == nil {
		t.Error("keys in f32 with queries in bf16 were accepted")
	}
}

// TestInvariance: the same bits alone or in a block, chunked or whole, per head or per
// group, in one run or several, by Forward or by Partials and Combine.
func TestInvariance(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, c := range []struct{ dim, heads, keys, window int }{{64, 2, 600, 0}, {40, 3, 530, 300}} {
		p := newProblem(r, c.dim, c.heads, c.keys, 0, c.window)
		whole := p.output()
		var s Scratch
		must(t, p.block().Forward(whole, &s))
		row := c.heads * c.dim
		compare := func(what string, got *Output, lo, hi, h0, h1 int) {
			t.Helper()
			for i := lo; i < hi; i++ {
				a := whole.O[i*row+h0*c.dim : i*row+h1*c.dim]
				b := got.O[i*row+h0*c.dim : i*row+h1*c.dim]
				if !slices.Equal(a, b) || !slices.Equal(whole.LSE[i*c.heads+h0:i*c.heads+h1], got.LSE[i*c.heads+h0:i*c.heads+h1]) {
					t.Fatalf("%+v: %s: row %d differs", c, what, i)
				}
			}
		}
		part := func(lo, hi, h0, h1 int, out *Output) (*Block, *Output) {
			b := p.block()
			b.Pos, b.N, b.Heads = lo, hi-lo, h1-h0
			b.Q = p.q[lo*row+h0*c.dim:]
			o := *out
			o.O, o.LSE = out.O[lo*row+h0*c.dim:], out.LSE[lo*c.heads+h0:]
			return b, &o
		}
		for lo := 0; lo < c.keys; {
			hi := min(c.keys, lo+1+r.IntN(90))
			got := p.output()
			b, o := part(lo, hi, 0, c.heads, got)
			must(t, b.Forward(o, &s))
			compare("chunk", got, lo, hi, 0, c.heads)

			// Keys beyond the chunk do not exist yet when decoding, and lie in runs of any length that is allowed.
			for _, length := range []int{32, 64, 128, 256, 512} {
				got = p.output()
				b, o = part(lo, hi, 0, 1, got)
				b.Runs = pieces(p, hi, length)
				must(t, b.Forward(o, &s))
				compare(fmt.Sprintf("one head, runs of %d", length), got, lo, hi, 0, 1)
			}

			got = p.output()
			b, o = part(hi-1, hi, 0, c.heads, got)
			n := Splits(hi)
			parts := make([]float32, n*b.PartialLen())
			for sp := range n {
				must(t, b.Partials(parts[sp*b.PartialLen():], sp, sp+1, &s))
			}
			must(t, b.Combine(o, parts, n))
			compare("partials", got, hi-1, hi, 0, c.heads)
			lo = hi
		}
	}
}

// pieces are the first n keys and values of p in runs that lie apart.
func pieces(p *problem, n, length int) []Run {
	var runs []Run
	rows := func(x []float32, lo, hi int) Rows {
		return Rows{Type: tensor.F32, F32: slices.Clone(x[lo*p.dim : hi*p.dim]), Stride: p.dim}
	}
	for lo := 0; lo < n; lo += length {
		hi := min(lo+length, n)
		runs = append(runs, Run{N: hi - lo, K: rows(p.k, lo, hi), V: rows(p.v, lo, hi)})
	}
	return runs
}

// TestTypes: a cache in another type gives the bits of its widened values.
func TestTypes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, c := range [][2]int{{32, 2}, {64, 1}, {64, 3}, {128, 1}, {128, 2}, {128, 4}, {128, 7}, {192, 8}} {
		dim, heads := c[0], c[1]
		p := newProblem(r, dim, heads, 300, 290, 0)
		for _, ty := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.Q8_0} {
			b, w := p.block(), p.block()
			for i, x := range [][]float32{p.k, p.v} {
				rows, wide := Rows{Type: ty, Stride: dim}, make([]float32, len(x))
				switch ty {
				case tensor.F32:
					rows.F32, wide = x, x
				case tensor.BF16:
					rows.Half = make([]uint16, len(x))
					vec.BF16FromF32(rows.Half, x)
					vec.F32FromBF16(wide, rows.Half)
				case tensor.F16:
					rows.Half = make([]uint16, len(x))
					vec.F16FromF32(rows.Half, x)
					vec.F32FromF16(wide, rows.Half)
				case tensor.Q8_0:
					rows.Bytes, rows.Stride = make([]byte, len(x)/32*vec.Q8Block), dim/32*vec.Q8Block
					vec.QuantizeQ8(rows.Bytes, x)
					vec.DequantizeQ8(wide, rows.Bytes)
				}
				if i == 0 {
					b.Runs[0].K, w.Runs[0].K.F32 = rows, wide
				} else {
					b.Runs[0].V, w.Runs[0].V.F32 = rows, wide
				}
			}
			var s Scratch
			got, want := p.output(), p.output()
			must(t, b.Forward(got, &s))
			must(t, w.Forward(want, &s))
			if !slices.Equal(got.O, want.O) {
				t.Errorf("dim %d: %v cache differs from its widened values", dim, ty)
			}
			// One token at a time reads the cache's own rows.
			for i := range p.n {
				one, o := *b, *got
				one.Pos, one.N, one.Q = p.pos+i, 1, p.q[i*heads*dim:]
				one.Runs = []Run{{N: p.pos + i + 1, K: b.Runs[0].K, V: b.Runs[0].V}}
				o.O, o.LSE = make([]float32, heads*dim), nil
				must(t, one.Forward(&o, &s))
				if !slices.Equal(o.O, want.O[i*heads*dim:(i+1)*heads*dim]) {
					t.Errorf("dim %d: %v cache, token %d alone differs", dim, ty, i)
				}
				one.Runs = nil
				for lo := 0; lo <= p.pos+i; lo += 64 {
					one.Runs = append(one.Runs, Run{N: min(64, p.pos+i+1-lo), K: b.Runs[0].K.from(lo), V: b.Runs[0].V.from(lo)})
				}
				clear(o.O)
				must(t, one.Forward(&o, &s))
				if !slices.Equal(o.O, want.O[i*heads*dim:(i+1)*heads*dim]) {
					t.Errorf("dim %d: %v cache in runs of 64, token %d alone differs", dim, ty, i)
				}
			}
		}
	}
}

// from is r without its first n rows.
func (r Rows) from(n int) Rows {
	at := n * r.Stride
	switch r.Type {
	case tensor.F32:
		r.F32 = r.F32[at:]
	case tensor.Q8_0:
		r.Bytes = r.Bytes[at:]
	default:
		r.Half = r.Half[at:]
	}
	return r
}

// TestNaN: a query or key that is not a number shows in the rows that use it, in no others.
func TestNaN(t *testing.T) {
	for _, at := range []string{"query", "key"} {
		p := newProblem(rand.New(rand.NewPCG(5, 5)), 32, 1, 300, 0, 0)
		first, last := 7, 8
		if at == "query" {
			p.q[7*32+3] = float32(math.NaN())
		} else {
			p.k[7*32+3], last = float32(math.NaN()), p.n
		}
		out := p.output()
		var s Scratch
		must(t, p.block().Forward(out, &s))
		for i := range p.n {
			if bad := isNaN(out.O[i*32]); bad != (i >= first && i < last) || bad != isNaN(out.LSE[i]) {
				t.Errorf("NaN in a %s: row %d is %v with log-sum-exp %v", at, i, out.O[i*32], out.LSE[i])
			}
		}
	}
}

// FuzzForward compares any shape with the definition and with one query at a time.
func FuzzForward(f *testing.F) {
	f.Add(uint64(1), uint16(64), uint8(2), uint16(300), uint16(10), uint16(0))
	f.Add(uint64(2), uint16(20), uint8(7), uint16(70), uint16(70), uint16(33))
	f.Add(uint64(3), uint16(96), uint8(1), uint16(513), uint16(1), uint16(257))
	f.Fuzz(func(t *testing.T, seed uint64, dim uint16, heads uint8, keys, n, window uint16) {
		d, h, k := 1+int(dim)%160, 1+int(heads)%9, 1+int(keys)%600
		p := newProblem(rand.New(rand.NewPCG(seed, 1)), d, h, k, k-min(k, 1+int(n)%80), int(window)%700)
		out := p.output()
		var s Scratch
		must(t, p.block().Forward(out, &s))
		o, _, _, _, _ := p.reference()
		if e := relative(out.O, o); !(e < 1e-5) {
			t.Errorf("relative error %g", e)
		}
		b := p.block()
		i := int(seed % uint64(p.n))
		b.Pos, b.N, b.Q = p.pos+i, 1, p.q[i*h*d:]
		one := p.output()
		must(t, b.Forward(one, &s))
		if !slices.Equal(one.O[:h*d], out.O[i*h*d:(i+1)*h*d]) {
			t.Errorf("token %d alone differs", i)
		}
	})
}

// TestMatrixUnits runs the tests of attention in bf16 at level amx: a row has the same bits whatever is computed beside
// it there, too.
func TestMatrixUnits(t *testing.T) { amxtest.Run(t, TestHalf) }

// TestLevels runs the tests above at every lower CPU level, in processes of their own.
func TestLevels(t *testing.T) {
	if os.Getenv("LEO_CPU") != "" {
		t.Skip("this process runs at the level of LEO_CPU")
	}
	for _, l := range cpu.Presets() {
		// Nothing here differs between avx512 and vnni, between bf16 and wide, or between avx2 and avxvnni.
		if l == cpu.Active&^cpu.Wide || l.Has(cpu.VNNI) && l&(cpu.BF16|cpu.AMX) == 0 || l.Has(cpu.Wide) || l.Has(cpu.AVXVNNI) {
			continue
		}
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run", "^Test(ForwardBackward|Half|Invariance|Types)$")
			cmd.Env = append(os.Environ(), "LEO_CPU="+l.String())
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			switch {
			case errors.As(err, &exit):
				t.Errorf("%v\n%s", err, out)
			case err != nil:
				t.Skipf("cannot start the test's own program (an emulator?): %v", err)
			}
		})
	}
}

func TestBadBlocks(t *testing.T) {
	p := newProblem(rand.New(rand.NewPCG(4, 4)), 16, 1, 20, 0, 0)
	for i, spoil := range []func(*Block){
		func(b *Block) { b.Dim = 0 },
		func(b *Block) { b.Q = b.Q[:10] },
		func(b *Block) { b.Pos = 1 },
		func(b *Block) { b.Runs[0].K.F32 = b.Runs[0].K.F32[:7] },
		func(b *Block) { b.Runs[0].V.Type = tensor.Q4_K },
		func(b *Block) { b.Runs[0].V.Type = tensor.Q8_0 },
		func(b *Block) { b.Runs = append(b.Runs, b.Runs[0]) },
		func(b *Block) { b.Runs = []Run{{N: 0}, b.Runs[0]} },
	} {
		b := p.block()
		spoil(b)
		if err := b.Forward(p.output(), new(Scratch)); err == nil {
			t.Errorf("fault %d was accepted", i)
		}
	}
}
