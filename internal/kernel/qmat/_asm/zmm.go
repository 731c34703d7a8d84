package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Registers of the 512-bit kernels: 16 rows × 4 elements each.
var zmm = []VecPhysical{
	Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
	Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31,
}

// Z0–Z15 are the accumulators of up to 16 activation rows, the others:
var (
	codesZ = zmm[16:24] // decoded codes
	scaleZ = zmm[24]    // scale of the block, or of its first half
	extraZ = zmm[25]    // minimum, or scale of the second half; NF4: table of low bytes
	intZ   = zmm[26:30] // integer sums, and temporaries before them
	slotZ  = zmm[30]    // codes of a group with large activations
	tableZ = zmm[31]    // table of the codes, or a temporary

	// Temporaries and constants of the kernels without VPDPBUSD.
	tempZ  = zmm[8:11]
	onesZ  = zmm[11]
	sevenZ = zmm[15]

	// Q2_K's kernels stop at 12 rows.
	minZ   = zmm[12:14] // minimum of each half
	fourZ  = zmm[14]    // 15 in each 32-bit lane
	shareZ = zmm[15]    // 1/2
)

// prefetch is how far ahead of the current block the next weights are asked for, into the
// second-level cache: the first one has too few buffers for what is under way by then.
const prefetch = 8192

// kernelZ writes the kernel of a type for n activation rows with 512-bit
// registers. Without VPDPBUSD its work is done by VPMADDUBSW and VPMADDWD, and n is at
// most 8, because their temporaries live in Z8–Z11. The level Cove has VPDPBUSD and no use for VSCALEFPS.
func kernelZ(level string, t wtype, n int) {
	f := begin(kernelName(level, t, n))
	f.vnni = level != "AVX512"
	f.steps = level == "VNNI" && n >= stepRows && (t.scale == half || t.scale == small)
	constants(t, f)
	f.locals(t)
	if f.vnni {
		f.keepMasks(t, n)
	}
	Label("panel")
	MOVQ(at(f.arg, argX), f.x)
	MOVQ(at(f.arg, argRecs), f.recs)
	for c := range n {
		VPXORD(zmm[c], zmm[c], zmm[c])
	}
	if n >= 4 {
		f.prefetchDst(n)
	}
	Label("record")
	if t.header > 0 {
		PREFETCHT2(at(f.w, prefetch)) // a line of its own in records that are whole lines
		f.head = GP64()
		MOVQ(f.w, f.head)
		ADDQ(Imm(uint64(t.header)), f.w)
		f.keepHeader(t, n)
	}
	var inner GPVirtual
	if t.blocks > 1 {
		inner = GP64()
		MOVQ(U32(uint32(t.blocks)), inner)
		Label("block")
	}
	for l := 0; l < t.block; l += 64 {
		PREFETCHT2(at(f.w, prefetch+l))
	}
	scales(t, f)
	if f.steps {
		f.keepScales()
	}
	step := 4
	if t.halves() {
		step = 2
	}
	if t.scale == float {
		u := t
		u.table = false // NF4 goes through its tables later, twice
		decode(u, f, tableZ)
	} else {
		decode(t, f, tableZ)
	}
	f.keep(t)
	f.spare = t.scale == float && f.vnni && n <= 4
	if f.spare {
		for g := range 8 {
			VMOVDQA32(codesZ[g], zmm[4+g])
		}
	}
	for c := 0; c < n; c += step {
		switch {
		case t.halves():
			columnsHalves(t, f, c, min(step, n-c))
		case t.scale == float:
			columnsNF4(t, f, c, min(step, n-c))
		default:
			columns(t, f, c, min(step, n-c))
		}
	}
	ADDQ(U32(uint32(t.block)), f.w)
	ADDQ(f.step, f.x)
	if t.blocks > 1 {
		DECQ(inner)
		JNZ(LabelRef("block"))
	}
	DECQ(f.recs)
	JNZ(LabelRef("record"))

	f.storePanel(n)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// storePanel stores the accumulators, adding what was there if asked to, and counts the panel; JNZ goes on with the next.
func (f *frame) storePanel(n int) {
	KMOVW(at(f.arg, argAdd), K1)
	ldd, dst := GP64(), GP64()
	MOVQ(at(f.arg, argLdd), ldd)
	MOVQ(f.dst, dst)
	for c := range n {
		VMOVUPS_Z(at(dst, 0), K1, intZ[c%4])
		VADDPS(intZ[c%4], zmm[c], zmm[c])
		VMOVUPS(zmm[c], at(dst, 0))
		if c+1 < n {
			ADDQ(ldd, dst)
		}
	}
	ADDQ(Imm(64), f.dst)
	DECQ(f.panels)
}

// prefetchDst asks for the lines of dst that the panel will store to. A store that misses waits
// in the store buffer for memory, the codes that keep stores wait behind it, and everything behind those.
func (f *frame) prefetchDst(n int) {
	ldd, dst := GP64(), GP64()
	MOVQ(at(f.arg, argLdd), ldd)
	MOVQ(f.dst, dst)
	for c := range n {
		PREFETCHT0(at(dst, 0))
		if c+1 < n {
			ADDQ(ldd, dst)
		}
	}
}

// fill sets all 32-bit lanes of a register.
func fill(v uint32, z VecPhysical) {
	r := GP32()
	MOVL(U32(v), r)
	VPBROADCASTD(r, z)
}

// fillBytes sets all bytes of a register.
func fillBytes(v int, z VecPhysical) { fill(uint32(v)*0x01010101, z) }

func constants(t wtype, f *frame) {
	if !f.vnni {
		fill(0x00010001, onesZ)
		if t.max > 127 {
			fillBytes(127, sevenZ)
		}
	}
	if t.table {
		r := GP64()
		MOVQ(at(f.arg, argTable), r)
		VMOVDQU32(at(r, 0), tableZ)
		if t.scale == float {
			VMOVDQU32(at(r, 64), extraZ)
		}
	}
	if t.scale == quarters {
		fill(15, fourZ)
		fill(math.Float32bits(1.0/2), shareZ)
	}
}

// locals reserves what kernelZ keeps on the stack.
func (f *frame) locals(t wtype) {
	switch {
	case f.steps:
		f.reserve(scalesAt + 4*64)
	case t.codes != bytes8:
		f.reserve(scalesAt)
	}
}

// reserve gives f.stack so many bytes of the stack, from the start of a line on.
func (f *frame) reserve(size int) {
	local := AllocLocal(size + 64)
	f.stack = GP64()
	LEAQ(local, f.stack)
	ADDQ(Imm(63), f.stack)
	ANDQ(I8(-64), f.stack)
}

// scaled reports whether codes are kept times 16, the weight of the high parts.
func (f *frame) scaled(t wtype) bool { return f.vnni && t.max <= 15 }

// keep stores the codes where a group can be chosen at run time.
func (f *frame) keep(t wtype) {
	if t.codes == bytes8 {
		return // as the block itself is
	}
	for g := range 8 {
		z := codesZ[g]
		if f.scaled(t) {
			z = intZ[g%4]
			VPSLLW(Imm(4), codesZ[g], z)
		}
		VMOVDQA32(z, at(f.stack, 64*g))
	}
}

// scalesAt is where on the stack keepScales puts the scales: behind the codes.
const scalesAt = 8 * 64

// stepRows is from how many rows on scales are kept times each mantissa of the activations' scale d. Then a sum
// needs one multiplication, the one that adds it: its power of two comes from VSCALEFPS, which has
// ports of its own. All these products are exact, so that their order does not matter. Types with a scale per
// half block do without: twice as many loads from the stack cost them more than they would gain.
const stepRows = 6

// keepScales puts the scales times 1, 1¼, 1½ and 1¾ on the stack.
func (f *frame) keepScales() { f.keepScalesAt(f.stack, scalesAt) }

// keepScalesAt puts them where base says.
func (f *frame) keepScalesAt(base Register, disp int) {
	quarter, sum := intZ[0], intZ[1]
	VMULPS_BCST(constFloat(0.25), scaleZ, quarter)
	VMOVAPS(scaleZ, at(base, disp))
	from := scaleZ
	for j := 1; j < 4; j++ {
		VADDPS(quarter, from, sum)
		VMOVAPS(sum, at(base, disp+64*j))
		from = sum
	}
}

// large adds the high parts of group i of row c to z, not yet times 16 unless
// the codes are.
func (f *frame) large(t wtype, c, i int, z VecPhysical) {
	r := GP64()
	MOVBLZX(f.field(c, actGroup+i), r.As32())
	switch {
	case t.codes == bytes8:
		VMOVDQU32(at(f.w, 0).Idx(r, 8), slotZ)
	case t.scale == float:
		VPSHUFB(at(f.stack, 0).Idx(r, 8), f.table, slotZ)
	default:
		VMOVDQA32(at(f.stack, 0).Idx(r, 8), slotZ)
	}
	f.dot(t, f.field(c, actHigh+4*i), slotZ, z)
}

// decode fills codesZ with the unsigned codes of the block at f.w.
func decode(t wtype, f *frame, table VecPhysical) {
	switch t.codes {
	case bytes8:
		for g := range 8 {
			VMOVDQU32(at(f.w, 64*g), codesZ[g])
		}
	case nibbles:
		mask := f.mask(15)
		for i := range 4 {
			VMOVDQU32(at(f.w, 64*i), codesZ[i])
			VPSRLW(Imm(4), codesZ[i], codesZ[i+4])
			VPANDD(mask, codesZ[i], codesZ[i])
			VPANDD(mask, codesZ[i+4], codesZ[i+4])
		}
	}
	if t.pairsAt != none {
		for j := range 2 {
			VMOVDQU32(at(f.w, t.pairsAt+64*j), intZ[0])
			for i := range 4 {
				tmp, to := intZ[0], codesZ[4*j+i]
				switch by := t.pairTo - 2*i; {
				case by > 0:
					tmp = intZ[1+i%3]
					VPSLLW(Imm(uint64(by)), intZ[0], tmp)
				case by < 0:
					tmp = intZ[1+i%3]
					VPSRLW(Imm(uint64(-by)), intZ[0], tmp)
				}
				if t.codes == pairs {
					VPANDD(f.mask(3<<t.pairTo), tmp, to)
				} else {
					VPTERNLOGD(Imm(0xf8), f.mask(3<<t.pairTo), tmp, to) // to |= tmp & mask
				}
			}
		}
	}
	if t.bitsAt != none {
		for g := range 8 {
			KMOVQ(at(f.w, t.bitsAt+8*g), K2)
			VPADDB(f.mask(t.bitAdds), codesZ[g], K2, codesZ[g])
		}
	}
	if t.table {
		for g := range 8 {
			VPSHUFB(codesZ[g], table, codesZ[g])
		}
	}
}

// keepMasks puts the constants of decode into registers that n rows leave free. One or two rows
// are bound by loads, of which a whole register takes a cycle.
func (f *frame) keepMasks(t wtype, n int) {
	free := zmm[12:15]
	if t.scale == quarters {
		free = zmm[8:11]
	}
	if n > 12 || t.scale == quarters && n > 8 {
		return
	}
	f.masks = map[int]VecPhysical{}
	for _, b := range []struct {
		used bool
		mask int
	}{{t.codes == nibbles, 15}, {t.pairsAt != none, 3 << t.pairTo}, {t.bitsAt != none, t.bitAdds}} {
		if b.used {
			z := free[len(f.masks)]
			fillBytes(b.mask, z)
			f.masks[b.mask] = z
		}
	}
}

// keepHeader converts the scales of the header for all blocks of the record, if n rows leave registers free.
func (f *frame) keepHeader(t wtype, n int) {
	if t.scale != small || !f.vnni || n > 8 {
		return
	}
	f.heads = zmm[10:12]
	for i, z := range f.heads {
		VCVTPH2PS(at(f.head, 32*i), z)
	}
}

// mask is a byte in all lanes: a register, or a constant in memory.
func (f *frame) mask(b int) Op {
	if z, ok := f.masks[b]; ok {
		return z
	}
	return constZ(b)
}

// constZ is a 64-byte constant of one repeated byte.
func constZ(b int) Mem {
	name := fmt.Sprintf("wide%d", b)
	if m, ok := constants64[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(8*i, U64(uint64(b)*0x0101010101010101))
	}
	constants64[name] = m
	return m
}

var constants64 = map[string]Mem{}

// scales loads the scales and minima of the block.
func scales(t wtype, f *frame) {
	// headTimes multiplies z with the f16 at off in the header.
	headTimes := func(off int, z, tmp VecPhysical) {
		if f.heads != nil {
			VMULPS(f.heads[off/32], z, z)
			return
		}
		VCVTPH2PS(at(f.head, off), tmp)
		VMULPS(tmp, z, z)
	}
	switch t.scale {
	case half:
		VCVTPH2PS(at(f.w, t.scaleAt), scaleZ)
		if t.minAt != none {
			VCVTPH2PS(at(f.w, t.minAt), extraZ)
		}
	case small:
		VPMOVZXBD(at(f.w, t.scaleAt), scaleZ)
		VCVTDQ2PS(scaleZ, scaleZ)
		headTimes(0, scaleZ, intZ[0])
		VPMOVZXBD(at(f.w, t.minAt), extraZ)
		VCVTDQ2PS(extraZ, extraZ)
		headTimes(32, extraZ, intZ[1])
	case signed:
		VCVTPH2PS(at(f.head, 0), intZ[0])
		if t.pairTo == 3 { // Q3_K uses its codes times 8
			fill(math.Float32bits(1.0/8), intZ[1])
			VMULPS(intZ[1], intZ[0], intZ[0])
		}
		for h, z := range []VecPhysical{scaleZ, extraZ} {
			VPMOVSXBD(at(f.w, t.scaleAt+16*h), z)
			VCVTDQ2PS(z, z)
			VMULPS(intZ[0], z, z)
		}
	case quarters:
		for h, z := range []VecPhysical{scaleZ, extraZ} {
			VPMOVZXBD(at(f.w, t.scaleAt+16*h), intZ[2])
			VPANDD(fourZ, intZ[2], z)
			VCVTDQ2PS(z, z)
			headTimes(0, z, intZ[0])
			VPSRLD(Imm(4), intZ[2], minZ[h])
			VCVTDQ2PS(minZ[h], minZ[h])
			headTimes(32, minZ[h], intZ[1])
			if !f.expand {
				VMULPS(shareZ, minZ[h], minZ[h])
			}
		}
	case float:
		fill(math.Float32bits(1.0/(63*256)), intZ[0])
		VMULPS(at(f.head, 0), intZ[0], scaleZ)
	}
}

func (f *frame) field(c, off int) Mem { return at(f.x, c*record+off) }

// start begins the integer sum of row c: the high parts of its large groups and the
// offset of the codes.
func (f *frame) start(t wtype, c int, z VecPhysical) {
	VPXORD(z, z, z)
	for i := range 2 {
		f.large(t, c, i, z)
	}
	if !f.scaled(t) {
		VPSLLD(Imm(4), z, z)
	}
	if t.offset != none {
		VPADDD_BCST(f.field(c, t.offset), z, z)
	}
}

// startSmall begins the sum without the high parts. Their codes come from the stack,
// where they were just stored, and a load of 64 bytes waits until they have left the
// store buffer: better to have the other products to do meanwhile.
func (f *frame) startSmall(t wtype, c int, z VecPhysical) {
	if t.offset == none {
		VPXORD(z, z, z)
	} else {
		VPBROADCASTD(f.field(c, t.offset), z)
	}
}

// storedRows is after how many rows the codes have left the store buffer, so that a sum can begin
// with the high parts and be shifted, without an addition.
const storedRows = 4

// dot adds to acc the products of unsigned bytes with four activations.
func (f *frame) dot(t wtype, x Mem, u, acc VecPhysical) {
	if f.vnni {
		VPDPBUSD_BCST(x, u, acc)
		return
	}
	VPBROADCASTD(x, tempZ[0])
	if t.max <= 127 { // two products fit 16 bits
		VPMADDUBSW(tempZ[0], u, tempZ[0])
		VPMADDWD(onesZ, tempZ[0], tempZ[0])
		VPADDD(tempZ[0], acc, acc)
		return
	}
	// The eighth bit apart from the other seven: VPMADDUBSW saturates.
	VPANDND(u, sevenZ, tempZ[2]) // u and not seven bits
	VPANDD(sevenZ, u, tempZ[1])
	for _, z := range tempZ[1:3] {
		VPMADDUBSW(tempZ[0], z, z)
		VPMADDWD(onesZ, z, z)
		VPADDD(z, acc, acc)
	}
}

// columns multiplies the block with activation rows c … c+n−1, n ≤ 4.
func columns(t wtype, f *frame, c, n int) {
	early := c >= storedRows && n > 2 && t.offset == none && !f.scaled(t)
	for i := range n {
		f.startSmall(t, c+i, intZ[i])
	}
	if early {
		for g := range 2 {
			for i := range n {
				f.large(t, c+i, g, intZ[i])
			}
		}
		for i := range n {
			VPSLLD(Imm(4), intZ[i], intZ[i])
		}
	}
	for g := range 8 {
		for i := range n {
			f.dot(t, f.field(c+i, 4*g), codesZ[g], intZ[i])
		}
	}
	for i := range n {
		switch {
		case early:
		case f.scaled(t) && n > 2: // for fewer rows a chain of their own is faster
			f.large(t, c+i, 0, intZ[i])
			f.large(t, c+i, 1, intZ[i])
		default:
			z := tableZ
			if t.table {
				z = extraZ // no type has a table and a minimum
			}
			u := t
			u.offset = none
			f.start(u, c+i, z)
			VPADDD(z, intZ[i], intZ[i])
		}
	}
	f.addScaled(c, n)
	for i := range n {
		switch {
		case t.minAt == none:
		case t.scale == small:
			VFNMADD231PS_BCST(f.field(c+i, actSumD), extraZ, zmm[c+i])
		default:
			VFMADD231PS_BCST(f.field(c+i, actSumD), extraZ, zmm[c+i])
		}
	}
}

// addScaled adds the integer sums of rows c … c+n−1 times both scales to the accumulators.
func (f *frame) addScaled(c, n int) {
	for i := range n {
		VCVTDQ2PS(intZ[i], intZ[i])
	}
	if f.steps {
		for i := range n {
			VSCALEFPS_BCST(f.field(c+i, actExp), intZ[i], intZ[i])
		}
	}
	for i := range n {
		if f.steps {
			r := GP64()
			MOVBLZX(f.field(c+i, actStep), r.As32())
			VFMADD231PS(at(f.stack, scalesAt).Idx(r, 8), intZ[i], zmm[c+i])
			continue
		}
		VMULPS_BCST(f.field(c+i, actScale), scaleZ, slotZ)
		VFMADD231PS(slotZ, intZ[i], zmm[c+i])
	}
}

// columnsHalves is columns for n ≤ 2 and types with a scale per half block.
func columnsHalves(t wtype, f *frame, c, n int) {
	first, second := intZ[0:2], intZ[2:4]
	sums := [2][]VecPhysical{first, second}
	start := func(i, h int, z VecPhysical) {
		u := t
		if t.offset != none {
			u.offset = actHalf0 + 4*h
		}
		f.startSmall(u, c+i, z)
	}
	each := func(g func(i, h int, z VecPhysical)) {
		for i := range n {
			for h, z := range sums {
				g(i, h, z[i])
			}
		}
	}
	early := c >= storedRows && !f.scaled(t)
	if early {
		each(start)
		each(func(i, h int, z VecPhysical) { f.large(t, c+i, h, z) })
		each(func(_, _ int, z VecPhysical) { VPSLLD(Imm(4), z, z) })
	} else {
		each(func(_, _ int, z VecPhysical) { VPXORD(z, z, z) })
	}
	for g := range 4 {
		for i := range n {
			f.dot(t, f.field(c+i, 4*g), codesZ[g], first[i])
			f.dot(t, f.field(c+i, 16+4*g), codesZ[4+g], second[i])
		}
	}
	each(func(i, h int, z VecPhysical) {
		switch {
		case early:
		case f.scaled(t):
			f.large(t, c+i, h, z)
		default:
			start(i, h, tableZ)
			f.large(t, c+i, h, tableZ)
			VPSLLD(Imm(4), tableZ, tableZ)
			VPADDD(tableZ, z, z)
		}
	})
	for i := range n {
		VCVTDQ2PS(first[i], first[i])
		VCVTDQ2PS(second[i], second[i])
	}
	for i := range n {
		VMULPS(scaleZ, first[i], first[i])
	}
	for i := range n {
		VFMADD231PS(second[i], extraZ, first[i])
	}
	for i := range n {
		VFMADD231PS_BCST(f.field(c+i, actScale), first[i], zmm[c+i])
	}
	if t.minAt == none {
		return
	}
	for h, off := range []int{actHalf0, actHalf1} {
		for i := range n {
			VCVTDQ2PS_BCST(f.field(c+i, off), first[i])
			VMULPS_BCST(f.field(c+i, actScale), first[i], first[i])
			VFMADD231PS(first[i], minZ[h], zmm[c+i])
		}
	}
}

// columnsNF4 is columns for codes of 16 bits: the high bytes first, then the low ones.
func columnsNF4(t wtype, f *frame, c, n int) {
	dot := func() {
		from := codesZ
		if f.spare {
			from = zmm[4:12]
		} else {
			u := t
			u.table = false
			decode(u, f, tableZ)
		}
		for g := range 8 {
			VPSHUFB(from[g], f.table, codesZ[g])
		}
		for g := range 8 {
			for i := range n {
				f.dot(t, f.field(c+i, 4*g), codesZ[g], intZ[i])
			}
		}
	}
	apart := n <= 2
	f.table = tableZ
	for i := range n {
		if apart {
			f.startSmall(t, c+i, intZ[i])
		} else {
			f.start(t, c+i, intZ[i])
		}
	}
	dot()
	for i := range n {
		VPSLLD(Imm(8), intZ[i], intZ[i])
	}
	f.table = extraZ
	t.offset = none
	if !apart {
		for i := range n {
			f.start(t, c+i, codesZ[i])
			VPADDD(codesZ[i], intZ[i], intZ[i])
		}
	}
	dot()
	if apart {
		for i := range n {
			z := intZ[2+i]
			VPXORD(z, z, z)
			for _, f.table = range []VecPhysical{tableZ, extraZ} {
				VPSLLD(Imm(8), z, z)
				for g := range 2 {
					f.large(t, c+i, g, z)
				}
			}
			VPSLLD(Imm(4), z, z)
			VPADDD(z, intZ[i], intZ[i])
		}
	}
	f.addScaled(c, n)
}
