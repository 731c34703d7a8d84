package qmat

import (
	"encoding/binary"
	"math"

	"leolm/tensor"
)

// format is how one source block of each of 16 rows lies in a packed record.
type format struct {
	size   int // bytes of a record
	blocks int // 32-element blocks in it
	// pack stores a source block as lane of the record.
	pack func(rec, src []byte, lane int)
	// unpack decodes 32-element block k of the record. It is the meaning of
	// the layout; the assembly does the same in registers.
	unpack func(b *block, rec []byte, k int)
}

// block is 16 rows × 32 elements in the common form of all types:
// w = scale·(u − offset) + min, scale and min per half block of 16 elements.
type block struct {
	u      [512]uint8 // [k/4][row][k%4], the order in vector registers
	offset int32
	halves bool // the two halves have scales of their own
	mins   bool
	// With wide the codes are high<<8 + u.
	wide       bool
	high       [512]uint8
	scale, min [2][PanelRows]float32
}

// decode unpacks into a block that may hold another type's.
func (f *format) decode(b *block, rec []byte, k int) {
	b.offset, b.halves, b.mins, b.wide = 0, false, false, false
	f.unpack(b, rec, k)
}

// row writes the values of one row.
func (b *block) row(dst []float32, lane int) {
	for k := range dst {
		i := k/4*64 + lane*4 + k%4
		u := int32(b.u[i]) - b.offset
		if b.wide {
			u += int32(b.high[i]) << 8
		}
		v := float32(b.scale[k/16][lane] * float32(u)) // rounded: never fused
		if b.mins {
			v += b.min[k/16][lane]
		}
		dst[k] = v
	}
}

var formats = [...]format{
	tensor.Q4_0:   {256 + 32, 1, packQ4_0, unpackQ4_0},
	tensor.IQ4_NL: {256 + 32, 1, packQ4_0, unpackIQ4NL},
	tensor.Q4_1:   {256 + 64, 1, packQ4_1, unpackQ4_1},
	tensor.Q5_0:   {256 + 64 + 32, 1, packQ5_0, unpackQ5_0},
	tensor.Q5_1:   {256 + 64 + 64, 1, packQ5_1, unpackQ5_1},
	tensor.Q8_0:   {512 + 32, 1, packQ8_0, unpackQ8_0},
	tensor.Q2_K:   {64 + 8*(128+32), 8, packQ2K, unpackQ2K},
	tensor.Q3_K:   {32 + 8*(128+64+32), 8, packQ3K, unpackQ3K},
	tensor.Q4_K:   {64 + 8*(256+32), 8, packQ4K, unpackQ4K},
	tensor.Q5_K:   {64 + 8*(256+64+32), 8, packQ5K, unpackQ5K},
	tensor.Q6_K:   {32 + 8*(256+128+32), 8, packQ6K, unpackQ6K},
	tensor.NF4:    {64 + 2*256, 2, packNF4, unpackNF4},
}

// The parts that records are made of.
//
// Nibbles, 256 bytes: load i of 64 bytes holds, for row r at 4r, elements
// 4i…4i+3 in the low and 16+4i…16+4i+3 in the high nibbles.
// Bits, 64 bytes: a 64-bit word per four elements; bit 4r+t is that of row r, element t.
// Pairs, 128 bytes: two loads of 64; row r, byte t of load j holds at bits 2i
// element 16j+4i+t.

// putNibbles and the others store the codes of elements 4g…4g+3, one per byte of v; the
// record starts as zeros.
func putNibbles(rec []byte, lane, g int, v uint32) { or32(rec[g%4*64+lane*4:], v<<(g/4*4)) }

func putPairs(rec []byte, lane, g int, v uint32) { or32(rec[g/4*64+lane*4:], v<<(g%4*2)) }

// putBits takes the bits in the lowest bit of each byte of v, whose others are zero, and gathers them:
//
//	bit      31    24      16       8       0
//	v        .......d .......c .......b .......a
//	v >> 7                             ......b.
//	v >> 14                            .....c..
//	v >> 21                            ....d...
//	their or, as a byte                ....dcba
//
// A byte of the record holds those of two rows: of an even one in its low half, of an odd one in its high half.
func putBits(rec []byte, lane, g int, v uint32) {
	rec[g*8+lane/2] |= byte(v|v>>7|v>>14|v>>21) << (lane % 2 * 4)
}

func or32(b []byte, v uint32) {
	binary.LittleEndian.PutUint32(b, binary.LittleEndian.Uint32(b)|v)
}

// at4 returns four bytes.
func at4(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }

// Masks for four codes at once.
const (
	low4 = 0x0f0f0f0f
	low2 = 0x03030303
	low1 = 0x01010101
)

func (b *block) nibbles(rec []byte) {
	const mask = 0x0f0f0f0f0f0f0f0f
	low, high := b.u[:256:256], b.u[256:512:512]
	rec = rec[:256]
	for i := 0; i < 256; i += 8 {
		v := binary.LittleEndian.Uint64(rec[i:])
		binary.LittleEndian.PutUint64(low[i:], v&mask)
		binary.LittleEndian.PutUint64(high[i:], v>>4&mask)
	}
}

// bits adds 1<<to where the bit is set.
func (b *block) bits(rec []byte, to int) {
	for i, v := range rec[:64] {
		u := (*[8]uint8)(b.u[i*8:])
		for t := range u {
			u[t] += v >> t & 1 << to
		}
	}
}

// pairs adds the two-bit codes shifted left by to.
func (b *block) pairs(rec []byte, to int) {
	for j := range 2 {
		u := (*[256]uint8)(b.u[j*256:])
		for t, v := range rec[j*64:][:64] {
			u[t] += v & 3 << to
			u[64+t] += v >> 2 & 3 << to
			u[128+t] += v >> 4 & 3 << to
			u[192+t] += v >> 6 << to
		}
	}
}

func f16at(b []byte, i int) float32 {
	return tensor.F16ToF32(binary.LittleEndian.Uint16(b[2*i:]))
}

// whole sets scale s for both halves.
func (b *block) whole(lane int, s float32) { b.scale[0][lane], b.scale[1][lane] = s, s }

func (b *block) halfScales(rec []byte) {
	for r := range PanelRows {
		b.whole(r, f16at(rec, r))
	}
}

func (b *block) halfMins(rec []byte) {
	b.mins = true
	for r := range PanelRows {
		m := f16at(rec, r)
		b.min[0][r], b.min[1][r] = m, m
	}
}

// The 32-element types. Source layouts: see package quant.

func packQ4_0(rec, src []byte, lane int) {
	for i := range 4 {
		binary.LittleEndian.PutUint32(rec[i*64+lane*4:], at4(src, 2+4*i))
	}
	copy(rec[256+2*lane:][:2], src)
}

func unpackQ4_0(b *block, rec []byte, _ int) {
	b.nibbles(rec)
	b.offset = 8
	b.halfScales(rec[256:])
}

// iq4Codes are ggml's kvalues_iq4nl plus 128.
var iq4Codes = [16]byte{1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241}

func unpackIQ4NL(b *block, rec []byte, _ int) {
	b.nibbles(rec)
	for i, u := range b.u {
		b.u[i] = iq4Codes[u&15]
	}
	b.offset = 128
	b.halfScales(rec[256:])
}

func packQ4_1(rec, src []byte, lane int) {
	for i := range 4 {
		copy(rec[i*64+lane*4:][:4], src[4+4*i:])
	}
	copy(rec[256+2*lane:][:2], src)
	copy(rec[288+2*lane:][:2], src[2:])
}

func unpackQ4_1(b *block, rec []byte, _ int) {
	b.nibbles(rec)
	b.halfScales(rec[256:])
	b.halfMins(rec[288:])
}

func packFifth(rec []byte, high uint32, lane int) {
	for g := range 8 {
		rec[g*8+lane/2] |= byte(high>>(4*g)&15) << (lane % 2 * 4)
	}
}

func packQ5_0(rec, src []byte, lane int) {
	for i := range 4 {
		copy(rec[i*64+lane*4:][:4], src[6+4*i:])
	}
	packFifth(rec[256:], binary.LittleEndian.Uint32(src[2:]), lane)
	copy(rec[320+2*lane:][:2], src)
}

func unpackQ5_0(b *block, rec []byte, _ int) {
	b.nibbles(rec)
	b.bits(rec[256:], 4)
	b.offset = 16
	b.halfScales(rec[320:])
}

func packQ5_1(rec, src []byte, lane int) {
	for i := range 4 {
		copy(rec[i*64+lane*4:][:4], src[8+4*i:])
	}
	packFifth(rec[256:], binary.LittleEndian.Uint32(src[4:]), lane)
	copy(rec[320+2*lane:][:2], src)
	copy(rec[352+2*lane:][:2], src[2:])
}

func unpackQ5_1(b *block, rec []byte, _ int) {
	b.nibbles(rec)
	b.bits(rec[256:], 4)
	b.halfScales(rec[320:])
	b.halfMins(rec[352:])
}

// Q8_0 codes become unsigned by adding 128.
func packQ8_0(rec, src []byte, lane int) {
	for g := range 8 {
		q := binary.LittleEndian.Uint32(src[2+4*g:])
		binary.LittleEndian.PutUint32(rec[g*64+lane*4:], q^0x80808080)
	}
	copy(rec[512+2*lane:][:2], src)
}

func unpackQ8_0(b *block, rec []byte, _ int) {
	copy(b.u[:], rec[:512])
	b.offset = 128
	b.halfScales(rec[512:])
}

// The 256-element types: a header with the f16 scales of the 16 rows, then eight
// blocks that each carry their own small scales.

// putCodes4 stores block j of a superblock whose codes lie as in q4_K: 64 elements
// per 32 bytes, the first 32 in the low nibbles.
func putCodes4(rec []byte, lane, j int, qs []byte) {
	for g := range 8 {
		putNibbles(rec, lane, g, at4(qs, j/2*32+4*g)>>(j%2*4)&low4)
	}
}

// scaleMin4 returns six-bit scale and minimum j of q4_K and q5_K.
func scaleMin4(q []byte, j int) (sc, m byte) {
	if j < 4 {
		return q[j] & 63, q[j+4] & 63
	}
	return q[j+4]&15 | q[j-4]>>6<<4, q[j+4]>>4 | q[j]>>6<<4
}

// mulScales sets scale d·sc and minimum −dmin·m from bytes at sc and m.
func (b *block) mulScales(header, sc, m []byte) {
	b.mins = true
	for r := range PanelRows {
		b.whole(r, f16at(header, r)*float32(sc[r]))
		v := -(f16at(header[32:], r) * float32(m[r]))
		b.min[0][r], b.min[1][r] = v, v
	}
}

func packQ4K(rec, src []byte, lane int) {
	packScales4K(rec, src, lane)
	for j := range 8 {
		putCodes4(rec[64+j*288:], lane, j, src[16:])
	}
}

// packScales4K stores all of a superblock but its codes.
func packScales4K(rec, src []byte, lane int) {
	copy(rec[2*lane:][:2], src)
	copy(rec[32+2*lane:][:2], src[2:])
	for j := range 8 {
		r := rec[64+j*288:]
		r[256+lane], r[272+lane] = scaleMin4(src[4:16], j)
	}
}

func unpackQ4K(b *block, rec []byte, k int) {
	r := rec[64+k*288:]
	b.nibbles(r)
	b.mulScales(rec, r[256:], r[272:])
}

func packQ5K(rec, src []byte, lane int) {
	copy(rec[2*lane:][:2], src)
	copy(rec[32+2*lane:][:2], src[2:])
	qh := src[16:48]
	for j := range 8 {
		r := rec[64+j*352:]
		r[320+lane], r[336+lane] = scaleMin4(src[4:16], j)
		putCodes4(r, lane, j, src[48:])
		for g := range 8 {
			putBits(r[256:], lane, g, at4(qh, 4*g)>>j&low1)
		}
	}
}

func unpackQ5K(b *block, rec []byte, k int) {
	r := rec[64+k*352:]
	b.nibbles(r)
	b.bits(r[256:], 4)
	b.mulScales(rec, r[320:], r[336:])
}

func packQ6K(rec, src []byte, lane int) {
	ql, qh, sc := src[:128], src[128:192], src[192:208]
	copy(rec[2*lane:][:2], src[208:])
	for j := range 8 {
		r := rec[32+j*416:]
		n, jj := j/4, j%4
		for g := range 8 {
			putNibbles(r, lane, g, at4(ql, 64*n+32*(jj&1)+4*g)>>(jj>>1*4)&low4)
			putPairs(r[256:], lane, g, at4(qh, 32*n+4*g)>>(2*jj)&low2)
		}
		r[384+lane], r[400+lane] = sc[2*j], sc[2*j+1]
	}
}

// signedScales sets scale d·sc from signed bytes per half, times factor.
func (b *block) signedScales(header, sc []byte, factor float32) {
	b.halves = true
	for r := range PanelRows {
		d := f16at(header, r) * factor
		b.scale[0][r] = d * float32(int8(sc[r]))
		b.scale[1][r] = d * float32(int8(sc[16+r]))
	}
}

func unpackQ6K(b *block, rec []byte, k int) {
	r := rec[32+k*416:]
	b.nibbles(r)
	b.pairs(r[256:], 4)
	b.offset = 32
	b.signedScales(rec, r[384:], 1)
}

func packQ2K(rec, src []byte, lane int) {
	scales, qs := src[:16], src[16:80]
	copy(rec[2*lane:][:2], src[80:])
	copy(rec[32+2*lane:][:2], src[82:])
	for j := range 8 {
		r := rec[64+j*160:]
		for g := range 8 {
			putPairs(r, lane, g, at4(qs, 32*(j/4)+4*g)>>(j%4*2)&low2)
		}
		r[128+lane], r[144+lane] = scales[2*j], scales[2*j+1]
	}
}

func unpackQ2K(b *block, rec []byte, k int) {
	r := rec[64+k*160:]
	clear(b.u[:])
	b.pairs(r, 0)
	b.halves, b.mins = true, true
	for i := range PanelRows {
		d, dmin := f16at(rec, i), f16at(rec[32:], i)
		for h := range 2 {
			sc := r[128+16*h+i]
			b.scale[h][i] = d * float32(sc&15)
			b.min[h][i] = -(dmin * float32(sc>>4))
		}
	}
}

// Q3_K codes are stored as 2 + 1 bits and used times 8, so that its offset becomes
// the 32 of q6_K; the scale is divided by 8, which is exact.
func packQ3K(rec, src []byte, lane int) {
	hmask, qs, sc := src[:32], src[32:96], src[96:108]
	copy(rec[2*lane:][:2], src[108:])
	for j := range 8 {
		r := rec[32+j*224:]
		for g := range 8 {
			putPairs(r, lane, g, at4(qs, 32*(j/4)+4*g)>>(j%4*2)&low2)
			putBits(r[128:], lane, g, at4(hmask, 4*g)>>j&low1)
		}
		for h := range 2 {
			i := 2*j + h
			low := sc[i%8] >> (i / 8 * 4) & 15
			high := sc[8+i%4] >> (i / 4 * 2) & 3
			r[192+16*h+lane] = byte(int8(low|high<<4) - 32)
		}
	}
}

func unpackQ3K(b *block, rec []byte, k int) {
	r := rec[32+k*224:]
	clear(b.u[:])
	b.pairs(r, 3)
	b.bits(r[128:], 5)
	b.offset = 32
	b.signedScales(rec, r[192:], 0.125)
}

// NF4's levels are no integers. As fixed point with 14 bits they are off by at
// most 3.1e-5 of the block's largest weight; the kernels multiply their high and
// low bytes in turn. A 15th bit could overflow the sum of a block.
const nf4One = 63 * 256

// nf4Levels are the sixteen quantiles of QLoRA's appendix E.
var nf4Levels = [16]float32{
	-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
	-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
	0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
	0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
}

// nf4Codes are the levels in fixed point plus 32768.
var nf4Codes = func() (c [16]uint16) {
	for i, v := range nf4Levels {
		c[i] = uint16(int32(math.RoundToEven(float64(v)*nf4One)) + 32768)
	}
	return c
}()

func packNF4(rec, src []byte, lane int) {
	copy(rec[4*lane:][:4], src)
	for g := range 16 {
		// The earlier element is in the high nibble.
		b0, b1 := uint32(src[4+2*g]), uint32(src[5+2*g])
		putNibbles(rec[64+g/8*256:], lane, g%8, b0>>4|b0&15<<8|b1>>4<<16|b1&15<<24)
	}
}

func unpackNF4(b *block, rec []byte, k int) {
	b.nibbles(rec[64+k*256:])
	for i, u := range b.u {
		c := nf4Codes[u&15]
		b.u[i], b.high[i] = uint8(c), uint8(c>>8)
	}
	b.wide = true
	b.offset = 32768
	for r := range PanelRows {
		d := math.Float32frombits(binary.LittleEndian.Uint32(rec[4*r:]))
		b.whole(r, d*(1.0/nf4One))
	}
}
