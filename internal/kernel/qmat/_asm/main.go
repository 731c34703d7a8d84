// Command asm writes the amd64 kernels of package qmat: one per weight type,
// level and number of activation rows. Run it with go generate in the package.
//
// All kernels share one frame: for each panel of 16 rows, for each packed record,
// decode 32 elements of the 16 rows into registers of unsigned bytes, multiply
// them with the int8 activations of each row of the tile, and add the block's
// result, scaled, to that row's f32 accumulators. See the package comment of qmat for the
// arithmetic and format.go for the layouts.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"os"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in struct args and in an activation record.
const (
	argDst, argW, argX, argLdd, argStep, argPanels, argRecs, argAdd, argTable, argPanel, argTiles, argTileStep = 0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 104, 112

	record    = 80
	actScale  = 32
	actSum8   = 36
	actSum128 = 40
	actSumD   = 44
	actHalf0  = 48
	actHalf1  = 52
	actSum16  = 56
	actSum    = 60
	actGroup  = 64 // of the large group of each half
	actStep   = 66
	actExp    = 68
	actHigh   = 72

	none = -1 // no such part in the block
)

// How codes lie in a block (see format.go), and where a scale comes from.
type (
	codes int
	scale int
)

const (
	nibbles codes = iota
	bytes8        // one byte per code
	pairs         // two bits per code

	half     scale = iota // f16 per row in the block; minimum: f16, added
	small                 // f16 in the header times unsigned byte; minimum too, subtracted
	signed                // f16 in the header times signed byte, per half block
	quarters              // f16 in the header times four bits, per half block; minimum: the other four
	float                 // f32 in the header: NF4
)

// wtype describes a weight type's record; the offsets are those of format.go.
type wtype struct {
	name   string
	header int // bytes before the first block
	block  int // bytes of a block
	blocks int // blocks per record

	codes   codes
	pairsAt int // two-bit plane, added at bit pairTo
	pairTo  int
	bitsAt  int // one-bit plane; a bit adds bitAdds
	bitAdds int
	table   bool // codes index a table of bytes
	max     int  // largest code
	offset  int  // activation field that starts the integer sum
	scale   scale
	scaleAt int
	minAt   int
	rows    []int // tile rows of the VNNI kernels
}

// halves reports whether the two halves of a block have scales of their own.
func (t wtype) halves() bool { return t.scale == signed || t.scale == quarters }

var (
	upTo8  = []int{1, 2, 4, 8}
	upTo16 = []int{1, 2, 3, 4, 6, 8, 12, 16}
	upTo12 = []int{1, 2, 3, 4, 6, 8, 12}
)

var types = []wtype{
	{name: "Q4_0", block: 288, blocks: 1, codes: nibbles, max: 15, offset: actSum8, scale: half, scaleAt: 256,
		pairsAt: none, bitsAt: none, minAt: none, rows: upTo16},
	{name: "Q4_1", block: 320, blocks: 1, codes: nibbles, max: 15, offset: none, scale: half, scaleAt: 256,
		pairsAt: none, bitsAt: none, minAt: 288, rows: upTo16},
	{name: "Q5_0", block: 352, blocks: 1, codes: nibbles, max: 31, offset: actSum16, scale: half, scaleAt: 320,
		pairsAt: none, bitsAt: 256, bitAdds: 16, minAt: none, rows: upTo16},
	{name: "Q5_1", block: 384, blocks: 1, codes: nibbles, max: 31, offset: none, scale: half, scaleAt: 320,
		pairsAt: none, bitsAt: 256, bitAdds: 16, minAt: 352, rows: upTo16},
	{name: "Q8_0", block: 544, blocks: 1, codes: bytes8, max: 255, offset: actSum128, scale: half, scaleAt: 512,
		pairsAt: none, bitsAt: none, minAt: none, rows: upTo16},
	{name: "IQ4_NL", block: 288, blocks: 1, codes: nibbles, table: true, max: 241, offset: actSum128, scale: half, scaleAt: 256,
		pairsAt: none, bitsAt: none, minAt: none, rows: upTo16},
	{name: "Q2_K", header: 64, block: 160, blocks: 8, codes: pairs, max: 3, offset: none, scale: quarters, scaleAt: 128,
		pairsAt: 0, bitsAt: none, minAt: 128, rows: upTo12},
	{name: "Q3_K", header: 32, block: 224, blocks: 8, codes: pairs, max: 56, offset: actHalf0, scale: signed, scaleAt: 192,
		pairsAt: 0, pairTo: 3, bitsAt: 128, bitAdds: 32, minAt: none, rows: upTo16},
	{name: "Q4_K", header: 64, block: 288, blocks: 8, codes: nibbles, max: 15, offset: none, scale: small, scaleAt: 256,
		pairsAt: none, bitsAt: none, minAt: 272, rows: upTo16},
	{name: "Q5_K", header: 64, block: 352, blocks: 8, codes: nibbles, max: 31, offset: none, scale: small, scaleAt: 320,
		pairsAt: none, bitsAt: 256, bitAdds: 16, minAt: 336, rows: upTo16},
	{name: "Q6_K", header: 32, block: 416, blocks: 8, codes: nibbles, max: 63, offset: actHalf0, scale: signed, scaleAt: 384,
		pairsAt: 256, pairTo: 4, bitsAt: none, minAt: none, rows: upTo16},
	{name: "NF4", header: 64, block: 256, blocks: 2, codes: nibbles, table: true, max: 255, offset: actSum128, scale: float,
		pairsAt: none, bitsAt: none, minAt: none, rows: upTo16},
}

func main() {
	level := flag.String("level", "vnni", "vnni, pair, cove, matrix, avx512, avxvnni, avx2, dequant, pack or acts")
	stubs := flag.String("calls", "", "Go file for the declarations and the table of kernels")
	// avo's own flags (-out, -pkg) are on the default set.
	flag.Parse()
	var d declarations
	switch *level {
	case "vnni":
		for _, t := range types {
			for _, n := range t.rows {
				d.add("VNNI", t, n)
				kernelZ("VNNI", t, n)
			}
		}
	case "pair":
		for _, t := range types {
			if !t.pairable() {
				continue
			}
			t.rows = []int{6, 8, 12, 16} // fewer gain nothing
			for _, n := range t.rows {
				d.add("Pair", t, n)
				kernelPair(t, n)
			}
		}
	case "cove":
		for _, t := range types {
			switch {
			case t.scale == float: // NF4's codes take two registers each
				continue
			case t.halves(): // fewer rows lose by what two panels cost
				t.rows = []int{16}
			default:
				t.rows = []int{6, 8, 12, 16}
			}
			for _, n := range t.rows {
				d.add("Cove", t, n)
				if n < covePair {
					kernelZ("Cove", t, n)
				} else {
					kernelCove(t, n)
				}
			}
		}
	case "matrix":
		for _, t := range types {
			// For fewer rows the way to the tiles and back costs more than they save.
			most := t.rows[len(t.rows)-1]
			t.rows = []int{8, 12, 16}
			for i, n := range t.rows {
				if n > most { // constants of Q2_K take registers
					t.rows = t.rows[:i]
					break
				}
			}
			for _, n := range t.rows {
				d.add("AMX", t, n)
				kernelMatrix(t, n)
			}
		}
	case "avx512":
		for _, t := range types {
			t.rows = upTo8
			for _, n := range t.rows {
				d.add("AVX512", t, n)
				kernelZ("AVX512", t, n)
			}
		}
	case "avxvnni":
		for _, t := range types {
			if t.scale == float { // codes of two bytes
				continue
			}
			t.rows = []int{1, 2, 4, 6, 8, 16} // twelve are eight and four
			for _, n := range t.rows {
				d.add("AVXVNNI", t, n)
				kernelLanes(t, n)
			}
		}
	case "avx2":
		for _, t := range types {
			t.rows = []int{1, 2, 4}
			if t.halves() {
				t.rows = []int{1, 2}
			}
			for _, n := range t.rows {
				d.add("AVX2", t, n)
				kernelY(t, n)
			}
		}
	case "dequant":
		for _, t := range types {
			d.dequant(t)
			dequant(t)
		}
	case "pack":
		packs()
		Generate()
		return
	case "acts":
		acts()
		actsZ()
		Generate()
		return
	default:
		fmt.Fprintln(os.Stderr, "unknown level", *level)
		os.Exit(2)
	}
	source := d.source(*level)
	if *level == "cove" {
		source = fmt.Appendf(source, `
// From how many rows on the kernels take two panels, and how many tiles those of 16 rows take at most.
const (
	covePair  = %d
	coveTiles = %d
)
`, covePair, coveTiles)
	}
	if err := os.WriteFile(*stubs, source, 0o666); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	Generate()
}

// declarations collects the Go side: a stub per kernel, the sizes per type, and
// a switch that calls them directly, so that their arguments stay on the stack.
type declarations struct {
	stubs, cases, sizes bytes.Buffer
	last                string
}

func kernelName(level string, t wtype, n int) string {
	return fmt.Sprintf("mul%s%s%d", t.name, level, n)
}

func (d *declarations) add(level string, t wtype, n int) {
	fn := kernelName(level, t, n)
	fmt.Fprintf(&d.stubs, "//go:noescape\nfunc %s(a *args)\n\n", fn)
	fmt.Fprintf(&d.cases, "\tcase kernel(tensor.%s, %d):\n\t\t%s(a)\n", t.name, n, fn)
	if d.last != t.name {
		fmt.Fprintf(&d.sizes, "\ttensor.%s: {%s},\n", t.name, strings.Trim(strings.Join(strings.Fields(fmt.Sprint(t.rows)), ", "), "[]"))
		d.last = t.name
	}
}

func (d *declarations) dequant(t wtype) {
	fmt.Fprintf(&d.stubs, "//go:noescape\nfunc dequant%s(a *args)\n\n", t.name)
	fmt.Fprintf(&d.cases, "\tcase kernel(tensor.%s, 0):\n\t\tdequant%s(a)\n", t.name, t.name)
}

func (d *declarations) source(level string) []byte {
	sizes := ""
	if d.sizes.Len() > 0 {
		sizes = fmt.Sprintf(`// %[1]sSizes are the numbers of activation rows that a type has kernels for.
var %[1]sSizes = map[tensor.DType][]int{
%[2]s}
`, level, d.sizes.String())
	}
	src := fmt.Sprintf(`// Code generated by go generate; DO NOT EDIT.

package qmat

import "leolm/tensor"

%[2]s
func %[1]sCall(k kernelID, a *args) {
	switch k {
%[3]s	}
}

%[4]s`, level, sizes, d.cases.String(), d.stubs.String())
	out, err := format.Source([]byte(src))
	if err != nil {
		panic(err)
	}
	return out
}

// frame is what all kernels keep in general registers.
type frame struct {
	arg, w, x, dst, step, recs, panels GPVirtual
	head                               GPVirtual           // header of the record
	vnni                               bool                // VPDPBUSD may be used
	expand                             bool                // a dequantizing kernel
	stack                              GPVirtual           // 8 × 64 bytes for decoded codes
	table                              VecPhysical         // NF4's for the bytes at hand
	masks                              map[int]VecPhysical // constants in registers
	heads                              []VecPhysical       // scales of the header as f32, or nil
	spare                              bool                // NF4's codes before the table are in Z4–Z11, too
	steps                              bool                // scales are on the stack, times each 1 + j/4
}

// begin opens the function and loads the arguments. Its locals may be large, so that it grows the stack where it has to.
func begin(name string) *frame {
	TEXT(name, 0, "func(a *byte)")
	f := &frame{}
	f.arg = GP64()
	Load(Param("a"), f.arg)
	get := func(off int) GPVirtual {
		r := GP64()
		MOVQ(Mem{Base: f.arg, Disp: off}, r)
		return r
	}
	f.w, f.dst, f.step, f.panels = get(argW), get(argDst), get(argStep), get(argPanels)
	f.x, f.recs, f.head = GP64(), GP64(), f.w
	return f
}

func at(base Register, disp int) Mem { return Mem{Base: base, Disp: disp} }
