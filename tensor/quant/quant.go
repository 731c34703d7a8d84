// Package quant owns the block formats' arithmetic: what the bytes of each
// quantized type of package tensor mean, and how to choose bytes for given
// numbers. It is the plain-Go reference that reads like the formulas; the fast
// products on packed blocks are package qmat's, the files around the blocks are
// package checkpoint's.
//
// The layouts are those of ggml (block_q4_0 and so on) and, for NF4, of
// bitsandbytes (QLoRA, Dettmers et al. 2023). Dequantize gives the same bits as
// the Python package gguf on every machine: products are rounded before they
// are added, so that no compiler fuses them.
package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"leolm/tensor"
)

// sizes checks that n elements of d are whole blocks and fill exactly have bytes.
func sizes(op string, d tensor.DType, n, have int) error {
	want, err := d.RowSize(n)
	if err != nil {
		return fmt.Errorf("%s %v: %w", op, d, err)
	}
	if want != have {
		return fmt.Errorf("%s %v: %d elements take %d bytes, have %d", op, d, n, want, have)
	}
	return nil
}

// Supported reports whether Dequantize knows d.
func Supported(d tensor.DType) bool {
	switch d {
	case tensor.F32, tensor.F16, tensor.BF16, tensor.F64:
		return true
	}
	return d.Quantized()
}

// Dequantize turns the stored elements in src into float32: len(dst) elements,
// a whole number of blocks, that fill src exactly. Stored float64 values are
// rounded to the nearest float32.
func Dequantize(dst []float32, d tensor.DType, src []byte) error {
	if err := sizes("dequantize", d, len(dst), len(src)); err != nil {
		return err
	}
	switch d {
	case tensor.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
		return nil
	case tensor.F16:
		for i := range dst {
			dst[i] = tensor.F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		}
		return nil
	case tensor.BF16:
		for i := range dst {
			dst[i] = tensor.BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		}
		return nil
	case tensor.F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
		return nil
	}
	decode := decoders[d]
	if decode == nil {
		return fmt.Errorf("dequantize: %v is not a number format", d)
	}
	n, size := d.BlockLen(), d.BlockSize()
	for len(dst) > 0 {
		decode(dst[:n], src[:size])
		dst, src = dst[n:], src[size:]
	}
	return nil
}

// decoders hold one function per block format: y has BlockLen elements, b
// BlockSize bytes.
var decoders = [...]func(y []float32, b []byte){
	tensor.Q4_0:   decodeQ4_0,
	tensor.Q4_1:   decodeQ4_1,
	tensor.Q5_0:   decodeQ5_0,
	tensor.Q5_1:   decodeQ5_1,
	tensor.Q8_0:   decodeQ8_0,
	tensor.Q2_K:   decodeQ2K,
	tensor.Q3_K:   decodeQ3K,
	tensor.Q4_K:   decodeQ4K,
	tensor.Q5_K:   decodeQ5K,
	tensor.Q6_K:   decodeQ6K,
	tensor.IQ4_NL: decodeIQ4NL,
	tensor.NF4:    decodeNF4,
}

func half(b []byte) float32 { return tensor.F16ToF32(binary.LittleEndian.Uint16(b)) }

// Q4_0: f16 d, 16 bytes of codes (low nibbles are elements 0–15, high ones
// 16–31); y = d·(q−8).
func decodeQ4_0(y []float32, b []byte) {
	d := half(b)
	for i, q := range b[2:18] {
		y[i] = d * float32(int(q&15)-8)
		y[i+16] = d * float32(int(q>>4)-8)
	}
}

// Q4_1: f16 d, f16 m, codes as Q4_0; y = d·q + m.
func decodeQ4_1(y []float32, b []byte) {
	d, m := half(b), half(b[2:])
	for i, q := range b[4:20] {
		y[i] = float32(d*float32(q&15)) + m
		y[i+16] = float32(d*float32(q>>4)) + m
	}
}

// Q5_0: f16 d, 32 fifth bits, codes as Q4_0; y = d·(q−16).
func decodeQ5_0(y []float32, b []byte) {
	d, high := half(b), binary.LittleEndian.Uint32(b[2:])
	for i, q := range b[6:22] {
		lo := int(q&15) | int(high>>i&1)<<4
		hi := int(q>>4) | int(high>>(i+16)&1)<<4
		y[i] = d * float32(lo-16)
		y[i+16] = d * float32(hi-16)
	}
}

// Q5_1: f16 d, f16 m, 32 fifth bits, codes as Q4_0; y = d·q + m.
func decodeQ5_1(y []float32, b []byte) {
	d, m, high := half(b), half(b[2:]), binary.LittleEndian.Uint32(b[4:])
	for i, q := range b[8:24] {
		lo := int(q&15) | int(high>>i&1)<<4
		hi := int(q>>4) | int(high>>(i+16)&1)<<4
		y[i] = float32(d*float32(lo)) + m
		y[i+16] = float32(d*float32(hi)) + m
	}
}

// Q8_0: f16 d, 32 signed bytes; y = d·q.
func decodeQ8_0(y []float32, b []byte) {
	d := half(b)
	for i, q := range b[2:34] {
		y[i] = float32(int8(q)) * d
	}
}

// Q2_K: 16 bytes of (4-bit scale, 4-bit minimum) for 16 elements each, 64
// bytes of 2-bit codes, f16 d, f16 dmin; y = d·sc·q − dmin·m. Code bits of
// 32 bytes hold four runs of 32 elements, one per bit pair.
func decodeQ2K(y []float32, b []byte) {
	scales, qs := b[:16], b[16:80]
	d, dmin := half(b[80:]), half(b[82:])
	for g := range 16 { // group g covers y[16g:16g+16]
		dl := d * float32(scales[g]&15)
		ml := dmin * float32(scales[g]>>4)
		q := qs[g/8*32+g%2*16:]
		shift := g % 8 / 2 * 2
		for i := range 16 {
			y[16*g+i] = float32(dl*float32(q[i]>>shift&3)) - ml
		}
	}
}

// q3Scales unpacks Q3_K's sixteen 6-bit scales, stored in 12 bytes as low
// nibbles and 2-bit tops, offset by 32.
func q3Scales(b []byte) (s [16]int) {
	for i := range s {
		low := int(b[i%8] >> (i / 8 * 4) & 15)
		top := int(b[8+i%4] >> (i / 4 * 2) & 3)
		s[i] = (low | top<<4) - 32
	}
	return s
}

// Q3_K: 32 bytes of third bits, 64 bytes of 2-bit codes as Q2_K, 12 bytes of
// 6-bit scales, f16 d; y = d·sc·(q−4) with the third bit worth 4.
func decodeQ3K(y []float32, b []byte) {
	high, qs := b[:32], b[32:96]
	scales, d := q3Scales(b[96:108]), half(b[108:])
	for g := range 16 {
		dl := d * float32(scales[g])
		q, h := qs[g/8*32+g%2*16:], high[g%2*16:]
		shift, bit := g%8/2*2, g/2
		for i := range 16 {
			code := int(q[i]>>shift&3) | int(h[i]>>bit&1)<<2
			y[16*g+i] = dl * float32(code-4)
		}
	}
}

// q4Scales unpacks the eight 6-bit scales and minima of Q4_K and Q5_K from 12 bytes.
func q4Scales(b []byte) (sc, m [8]uint8) {
	for i := range 4 {
		sc[i] = b[i] & 63
		m[i] = b[4+i] & 63
		sc[4+i] = b[8+i]&15 | b[i]>>6<<4
		m[4+i] = b[8+i]>>4 | b[4+i]>>6<<4
	}
	return sc, m
}

// Q4_K: f16 d, f16 dmin, 12 bytes of 6-bit scales and minima for eight runs of
// 32 elements, 128 bytes of codes (each 32 bytes hold two runs, low nibbles
// first); y = d·sc·q − dmin·m.
func decodeQ4K(y []float32, b []byte) {
	d, dmin := half(b), half(b[2:])
	sc, m := q4Scales(b[4:16])
	for g := range 8 {
		dl := d * float32(sc[g])
		ml := dmin * float32(m[g])
		q := b[16+g/2*32:]
		shift := g % 2 * 4
		for i := range 32 {
			y[32*g+i] = float32(dl*float32(q[i]>>shift&15)) - ml
		}
	}
}

// Q5_K: as Q4_K with 32 bytes of fifth bits (bit g of byte i belongs to
// element i of run g) before the codes.
func decodeQ5K(y []float32, b []byte) {
	d, dmin := half(b), half(b[2:])
	sc, m := q4Scales(b[4:16])
	high := b[16:48]
	for g := range 8 {
		dl := d * float32(sc[g])
		ml := dmin * float32(m[g])
		q := b[48+g/2*32:]
		shift := g % 2 * 4
		for i := range 32 {
			code := q[i]>>shift&15 | high[i]>>g&1<<4
			y[32*g+i] = float32(dl*float32(code)) - ml
		}
	}
}

// Q6_K: 128 bytes of low nibbles, 64 bytes of top bit pairs, 16 signed scales
// for 16 elements each, f16 d; y = d·sc·(q−32).
func decodeQ6K(y []float32, b []byte) {
	low, top, scales, d := b[:128], b[128:192], b[192:208], half(b[208:])
	for g := range 16 {
		dl := d * float32(int8(scales[g]))
		// Half h of the block holds four runs of 32: run r is in the low
		// (r<2) or high nibbles of 64 bytes, at byte 32·(r mod 2).
		h, r := g/8, g%8/2
		ql := low[64*h+32*(r%2)+g%2*16:]
		qh := top[32*h+g%2*16:]
		for i := range 16 {
			code := int(ql[i]>>(r/2*4)&15) | int(qh[i]>>(2*r)&3)<<4
			y[16*g+i] = dl * float32(code-32)
		}
	}
}

// iq4Values are the sixteen levels of IQ4_NL, finer near zero.
var iq4Values = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// IQ4_NL: layout of Q4_0, y = d·level[q].
func decodeIQ4NL(y []float32, b []byte) {
	d := half(b)
	for i, q := range b[2:18] {
		y[i] = d * float32(iq4Values[q&15])
		y[i+16] = d * float32(iq4Values[q>>4])
	}
}

// nf4Values are the quantiles of the normal distribution, scaled to [−1, 1],
// that QLoRA's appendix E lists.
var nf4Values = [16]float32{
	-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
	-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
	0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
	0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
}

// NF4: f32 absolute maximum, 32 bytes of codes, the earlier element in the
// high nibble (as bitsandbytes packs); y = level[q]·absmax.
func decodeNF4(y []float32, b []byte) {
	d := math.Float32frombits(binary.LittleEndian.Uint32(b))
	for i, q := range b[4:36] {
		y[2*i] = nf4Values[q>>4] * d
		y[2*i+1] = nf4Values[q&15] * d
	}
}
