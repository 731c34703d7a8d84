package gemm

import (
	"fmt"
	"unsafe"

	"leolm/internal/kernel/vec"
)

// Packed layout of B, panel by panel of 32 columns (lanes), zero-padded:
//
//	f32, f16: dst[panel][k][lane]
//	bf16:     dst[panel][k/2][lane][k%2]   (k padded to even)

// PackF32 packs panels [panelLo,panelHi) of B(k,j) = src[k*ks+j*js], of k rows
// and n columns. dst is the whole packed matrix (PackedLenF32).
func PackF32(dst, src []float32, ks, js, n, k, panelLo, panelHi int) {
	if !checkPack(len(dst), PackedLenF32(n, k), len(src), ks, js, n, k, panelLo, panelHi) {
		return
	}
	eachPart(ks, js, n, k, panelLo, panelHi, func(p, w, k0, kn int) {
		d := dst[(p*k+k0)*PanelWidth:][:kn*PanelWidth]
		packWords(asWords(d), asWords(src[p*PanelWidth*js+k0*ks:]), ks, js, w, kn)
	})
}

// PackF16 packs an f16 B (bits kept) for MulF16; see PackF32.
func PackF16(dst, src []uint16, ks, js, n, k, panelLo, panelHi int) {
	if !checkPack(len(dst), PackedLenF16(n, k), len(src), ks, js, n, k, panelLo, panelHi) {
		return
	}
	eachPart(ks, js, n, k, panelLo, panelHi, func(p, w, k0, kn int) {
		packHalves(dst[(p*k+k0)*PanelWidth:][:kn*PanelWidth], src[p*PanelWidth*js+k0*ks:], ks, js, w, kn)
	})
}

// PackBF16 packs a bf16 B (bits kept) for MulBF16; see PackF32.
func PackBF16(dst, src []uint16, ks, js, n, k, panelLo, panelHi int) {
	if !checkPack(len(dst), PackedLenBF16(n, k), len(src), ks, js, n, k, panelLo, panelHi) {
		return
	}
	k2 := k + k&1
	eachPart(ks, js, n, k, panelLo, panelHi, func(p, w, k0, kn int) {
		d := dst[(p*k2+k0)*PanelWidth:][:(kn+kn&1)*PanelWidth]
		packPairs16(d, src[p*PanelWidth*js+k0*ks:], ks, js, w, kn)
	})
}

// PackBF16FromF32 rounds an f32 B to bf16 (nearest even) while packing; see PackF32.
func PackBF16FromF32(dst []uint16, src []float32, ks, js, n, k, panelLo, panelHi int) {
	if !checkPack(len(dst), PackedLenBF16(n, k), len(src), ks, js, n, k, panelLo, panelHi) {
		return
	}
	k2 := k + k&1
	eachPart(ks, js, n, k, panelLo, panelHi, func(p, w, k0, kn int) {
		d := dst[(p*k2+k0)*PanelWidth:][:(kn+kn&1)*PanelWidth]
		packPairs32(d, src[p*PanelWidth*js+k0*ks:], ks, js, w, kn)
	})
}

// eachPart walks a B in parts of one panel by some k so that memory is read in
// order: f(panel, its columns, first k (even), number of k).
func eachPart(ks, js, n, k, panelLo, panelHi int, f func(p, w, k0, kn int)) {
	chunk := k
	if js < ks { // rows of k lie together: finish a few rows in all panels first
		chunk = 16
	}
	for k0 := 0; k0 < k; k0 += chunk {
		for p := panelLo; p < panelHi; p++ {
			f(p, min(PanelWidth, n-p*PanelWidth), k0, min(chunk, k-k0))
		}
	}
}

func checkPack(lenDst, wantDst, lenSrc, ks, js, n, k, panelLo, panelHi int) bool {
	if n < 0 || k < 0 || ks < 0 || js < 0 || panelLo < 0 || panelHi > Panels(n) || lenDst < wantDst {
		panic(fmt.Sprintf("gemm: cannot pack %d × %d, panels %d..%d, strides %d,%d into %d elements", n, k, panelLo, panelHi, ks, js, lenDst))
	}
	if panelHi <= panelLo || k == 0 {
		return false
	}
	if (k-1)*ks+(min(n, panelHi*PanelWidth)-1)*js >= lenSrc {
		panic(fmt.Sprintf("gemm: B of %d elements is too small for %d × %d with strides %d,%d", lenSrc, n, k, ks, js))
	}
	return true
}

// asWords views floats as their bits: packing moves bits.
func asWords(f []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(f))), len(f))
}

// packWords fills part of a panel of 32-bit lanes: d[k][lane] = src[k*ks + lane*js].
func packWords(d, src []uint32, ks, js, w, k int) {
	if w < PanelWidth {
		clear(d)
	}
	switch {
	case js == 1:
		for kk := range k {
			copy(d[kk*PanelWidth:kk*PanelWidth+w], src[kk*ks:])
		}
	case ks == 1:
		vec.TransposeWords(unsafe.Pointer(&d[0]), PanelWidth*4, unsafe.Pointer(&src[0]), js*4, w, k)
	default:
		for j := range w {
			for kk := range k {
				d[kk*PanelWidth+j] = src[j*js+kk*ks]
			}
		}
	}
}

// packHalves fills part of a panel of 16-bit lanes: d[k][lane] = src[k*ks + lane*js].
func packHalves(d, src []uint16, ks, js, w, k int) {
	if w < PanelWidth {
		clear(d)
	}
	switch {
	case js == 1:
		for kk := range k {
			copy(d[kk*PanelWidth:kk*PanelWidth+w], src[kk*ks:])
		}
	case ks == 1 && w == PanelWidth:
		// Neighboring lanes make words, which transpose as words.
		const chunk = 256
		var rows [PanelWidth / 2 * 2 * chunk]uint16
		for k0 := 0; k0 < k; k0 += chunk {
			n := min(chunk, k-k0)
			for i := range PanelWidth / 2 {
				at := 2*i*js + k0
				vec.Zip16(rows[i*2*chunk:i*2*chunk+2*n], src[at:at+n], src[at+js:at+js+n])
			}
			vec.TransposeWords(unsafe.Pointer(&d[k0*PanelWidth]), PanelWidth*2, unsafe.Pointer(&rows), chunk*4, PanelWidth/2, n)
		}
	default:
		for j := range w {
			for kk := range k {
				d[kk*PanelWidth+j] = src[j*js+kk*ks]
			}
		}
	}
}

// packPairs16 fills part of a panel of pairs: d[k/2][lane][k%2] = src[k*ks + lane*js].
func packPairs16(d, src []uint16, ks, js, w, k int) {
	if w < PanelWidth || k&1 == 1 {
		clear(d)
	}
	done := 0
	switch {
	case k < 2:
	case js == 1:
		if w == PanelWidth {
			if to := asPairs(d); zipRows(to, PanelWidth, src, ks, k/2) {
				zipRows(to[PanelWidth/2:], PanelWidth, src[PanelWidth/2:], ks, k/2)
				done = k &^ 1
			}
		}
		for ; done+1 < k; done += 2 {
			vec.Zip16(d[done*PanelWidth:done*PanelWidth+2*w], src[done*ks:done*ks+w], src[(done+1)*ks:(done+1)*ks+w])
		}
	case ks == 1:
		done = k &^ 1
		vec.TransposeWords(unsafe.Pointer(&d[0]), PanelWidth*4, unsafe.Pointer(&src[0]), js*2, w, k/2)
	}
	for j := range w {
		for kk := done; kk < k; kk++ {
			d[kk/2*2*PanelWidth+j*2+kk&1] = src[j*js+kk*ks]
		}
	}
}

// packPairs32 is packPairs16 with rounding to bf16.
func packPairs32(d []uint16, src []float32, ks, js, w, k int) {
	if w < PanelWidth || k&1 == 1 {
		clear(d)
	}
	done := 0
	switch {
	case k < 2:
	case js == 1:
		for ; done+1 < k; done += 2 {
			vec.ZipBF16(d[done*PanelWidth:done*PanelWidth+2*w], src[done*ks:done*ks+w], src[(done+1)*ks:(done+1)*ks+w])
		}
	case ks == 1:
		const chunk = 256
		var rows [PanelWidth * chunk]uint16
		for ; done+1 < k; done += min(chunk, (k-done)&^1) {
			n := min(chunk, (k-done)&^1)
			for j := range w {
				vec.BF16FromF32(rows[j*chunk:j*chunk+n], src[j*js+done:j*js+done+n])
			}
			vec.TransposeWords(unsafe.Pointer(&d[done*PanelWidth]), PanelWidth*4, unsafe.Pointer(&rows), chunk*2, w, n/2)
		}
	}
	for j := range w {
		for kk := done; kk < k; kk++ {
			d[kk/2*2*PanelWidth+j*2+kk&1] = roundBF16(src[j*js+kk*ks])
		}
	}
}

// packA copies mr rows and ks steps of A, from row m0 and step k0, into the
// scratch and returns the byte strides of its rows and steps.
func (p *product) packA(scratch []uint32, m0, mr, k0, ks int) (am, ak int) {
	if p.kind != kindBF16 {
		if p.ak == 1 {
			src := asWords(p.a32)[m0*p.am+k0:]
			ld := ks + rowPad
			for i := range mr {
				copy(scratch[i*ld:i*ld+ks], src[i*p.am:])
			}
			return ld * 4, 4
		}
		p.packSteps(scratch, m0, mr, k0, 0, ks)
		return 4, mr * 4
	}
	half := halves(scratch)
	kn := min(2*ks, p.k-2*k0) // elements of k; odd only at the very end
	off := m0*p.am + 2*k0*p.ak
	if p.ak == 1 {
		ld := 2 * (ks + rowPad)
		for i := range mr {
			d := half[i*ld : i*ld+2*ks]
			if p.a16 != nil {
				copy(d[:kn], p.a16[off+i*p.am:])
			} else {
				vec.BF16FromF32(d[:kn], p.a32[off+i*p.am:off+i*p.am+kn])
			}
			if kn < 2*ks {
				d[kn] = 0
			}
		}
		return ld * 2, 4
	}
	p.packPairs(half, m0, mr, k0, 0, ks)
	return 4, mr * 4
}

// packStrip packs tiles [t0,t1) of the rows, a few steps of all tiles at a time.
func (p *product) packStrip(scratch []uint32, rowLo, rows, tiles, t0, t1, k0, ks int) {
	const chunk = 32
	for s := 0; s < ks; s += chunk {
		for t := t0; t < t1; t++ {
			m0 := rowLo + t*rows/tiles
			mr := rowLo + (t+1)*rows/tiles - m0
			d := scratch[(t-t0)*scratchN : (t-t0+1)*scratchN]
			if p.kind != kindBF16 {
				p.packSteps(d, m0, mr, k0, s, min(s+chunk, ks))
			} else {
				p.packPairs(halves(d), m0, mr, k0, s, min(s+chunk, ks))
			}
		}
	}
}

// packSteps copies steps [lo,hi) after k0 of mr rows as d[step][row].
func (p *product) packSteps(d []uint32, m0, mr, k0, lo, hi int) {
	src := asWords(p.a32)[m0*p.am:]
	for s := lo; s < hi; s++ {
		row := src[(k0+s)*p.ak:]
		to := d[s*mr : s*mr+mr]
		if p.am == 1 {
			copy(to, row)
			continue
		}
		for i := range to {
			to[i] = row[i*p.am]
		}
	}
}

// asPairs views an even number of halves as words.
func asPairs(h []uint16) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(h))), len(h)/2)
}

func halves(w []uint32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(w))), 2*len(w))
}

// packPairs is packSteps for bf16: d[step][row][2].
func (p *product) packPairs(half []uint16, m0, mr, k0, lo, hi int) {
	off := m0*p.am + 2*k0*p.ak
	kn := min(2*hi, p.k-2*k0)
	s := lo
	if p.am == 1 && p.a16 != nil {
		// All whole pairs whose sixteen columns lie inside both slices.
		at := off + 2*s*p.ak
		n := min(hi, kn/2) - s
		if p.ak > 0 {
			n = min(n, (len(p.a16)-16-at)/p.ak/2)
		}
		if mr > 0 {
			n = min(n, (len(half)/2-16)/mr-s+1)
		}
		if n > 0 && zipRows(asPairs(half)[s*mr:], mr, p.a16[at:], p.ak, n) {
			s += n
		}
	}
	if p.am == 1 {
		// Sixteen rows at a time, of which the next step overwrites what is too much.
		for ; 2*s+1 < kn && s*mr*2+32 <= len(half); s++ {
			at := off + 2*s*p.ak
			d := half[s*mr*2 : s*mr*2+32]
			if p.a16 != nil {
				if at+p.ak+16 > len(p.a16) {
					break
				}
				vec.Zip16(d, p.a16[at:at+16], p.a16[at+p.ak:at+p.ak+16])
				continue
			}
			if at+p.ak+16 > len(p.a32) {
				break
			}
			vec.ZipBF16(d, p.a32[at:at+16], p.a32[at+p.ak:at+p.ak+16])
		}
	}
	for ; s < hi; s++ {
		d := half[s*mr*2 : (s+1)*mr*2]
		for i := range mr {
			at := off + 2*s*p.ak + i*p.am
			d[2*i+1] = 0
			if p.a16 != nil {
				d[2*i] = p.a16[at]
				if 2*s+1 < kn {
					d[2*i+1] = p.a16[at+p.ak]
				}
				continue
			}
			d[2*i] = roundBF16(p.a32[at])
			if 2*s+1 < kn {
				d[2*i+1] = roundBF16(p.a32[at+p.ak])
			}
		}
	}
}
