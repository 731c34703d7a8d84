package quant

// The k types store a block of 256 as groups, each with a small whole-number
// scale (and minimum) relative to one f16 scale (and minimum) of the block.
// Quantizing is a descent in turns: whole-number scales and codes for given
// f16 values, then f16 values by least squares for given whole numbers. The
// best state met is kept.

// rounds is how often the two turns alternate; more gained below 0.1 % on
// Gaussian and on trained weights.
const rounds = 3

// affineBlock is a block of Q2_K, Q4_K or Q5_K: element i of group j is
// d·sc[j]·q[i] − dmin·mn[j].
type affineBlock struct {
	d, dmin float32
	sc, mn  [16]int
	q       [256]uint8
}

// searchAffineBlock fits groups of the given length with codes up to top and
// whole-number scales up to limit. ok is false if an f16 overflows.
func searchAffineBlock(x, w []float32, length, top, limit, steps int) (out affineBlock, ok bool) {
	groups := len(x) / length
	var scale, low [16]float32
	var largestScale, largestLow float32
	for j := range groups {
		s, m := searchAffine(x[j*length:(j+1)*length], w[j*length:(j+1)*length], top, true, steps)
		scale[j], low[j] = s, -m
		largestScale, largestLow = max(largestScale, s), max(largestLow, -m)
	}
	if largestScale < negligible && largestLow < negligible {
		return out, true
	}
	// A group where one weight carries everything may have found no scale.
	d, ok1 := toHalf(largestScale / float32(limit))
	dmin, ok2 := toHalf(largestLow / float32(limit))
	if !ok1 || !ok2 {
		return out, false
	}
	bestError := float32(-1)
	var blk affineBlock
	for range rounds {
		blk.d, blk.dmin = d, dmin
		total := float32(0)
		for j := range groups {
			total += blk.fitGroup(x[j*length:(j+1)*length], w[j*length:(j+1)*length], j, float32(top), limit, scale[j], low[j])
		}
		if bestError < 0 || total < bestError {
			bestError, out = total, blk
		}
		if bestError == 0 {
			break
		}
		// Normal equations of Σw(x − d·a + dmin·b)² with a = sc·q, b = mn.
		var aa, ab, bb, xa, xb float64
		for i, v := range x {
			a := float64(blk.sc[i/length] * int(blk.q[i]))
			b := float64(blk.mn[i/length])
			wi := float64(w[i])
			aa += wi * a * a
			ab += wi * a * b
			bb += wi * b * b
			xa += wi * a * float64(v)
			xb += wi * b * float64(v)
		}
		nd, nmin := float64(d), float64(dmin)
		if det := aa*bb - ab*ab; det > 1e-9*aa*bb {
			nd, nmin = (xa*bb-ab*xb)/det, (ab*xa-aa*xb)/det
		} else if aa > 0 {
			nd = (xa + nmin*ab) / aa
		}
		if !(nd >= 0) || !(nmin >= 0) {
			break
		}
		d, ok1 = toHalf(float32(nd))
		dmin, ok2 = toHalf(float32(nmin))
		if !ok1 || !ok2 || d == blk.d && dmin == blk.dmin {
			break
		}
	}
	return out, true
}

// fitGroup chooses the whole-number scale and minimum of group j near the wanted
// real ones, and its codes; it returns the error.
func (blk *affineBlock) fitGroup(x, w []float32, j int, top float32, limit int, scale, low float32) float32 {
	units := func(v, unit float32) int {
		if unit == 0 {
			return 0
		}
		return clampRound(v/unit, 0, limit)
	}
	sc0, mn0 := units(scale, blk.d), units(low, blk.dmin)
	best, sc, mn := float32(-1), 0, 0
	for _, s := range [3]int{sc0, sc0 - 1, sc0 + 1} {
		if s < 0 || s > limit {
			continue
		}
		dl := blk.d * float32(s)
		// For this scale, the best minimum for the codes it leads to.
		m := mn0
		if blk.dmin != 0 {
			var sw, r float32
			ml := blk.dmin * float32(mn0)
			inv := float32(0)
			if dl != 0 {
				inv = 1 / dl
			}
			for i, v := range x {
				q := nearest((v+ml)*inv, 0, top)
				r += w[i] * (dl*q - v)
				sw += w[i]
			}
			if sw > 0 {
				m = units(r/sw, blk.dmin)
			}
		}
		for _, c := range [2]int{m, mn0} {
			e := errorAffine(x, w, dl, -blk.dmin*float32(c), top)
			if best < 0 || e < best {
				best, sc, mn = e, s, c
			}
			if m == mn0 {
				break
			}
		}
	}
	blk.sc[j], blk.mn[j] = sc, mn
	dl, ml := blk.d*float32(sc), blk.dmin*float32(mn)
	q := blk.q[j*len(x) : (j+1)*len(x)]
	for i, v := range x {
		q[i] = 0
		if dl != 0 {
			q[i] = uint8(nearest((v+ml)/dl, 0, top))
		}
	}
	return best
}

// symmetricBlock is a block of Q3_K or Q6_K: element i of group j is d·sc[j]·q[i].
type symmetricBlock struct {
	d  float32
	sc [16]int
	q  [256]int
}

// searchSymmetricBlock fits 16 groups of 16 with codes in [lo, −lo−1] and
// whole-number scales in [limit, −limit−1]. ok is false if the f16 overflows.
func searchSymmetricBlock(x, w []float32, lo, limit int) (out symmetricBlock, ok bool) {
	var scale [16]float32
	for j := range scale {
		scale[j] = searchSymmetric(x[16*j:16*j+16], w[16*j:16*j+16], lo, -lo-1)
	}
	top, abs := largest(scale[:])
	if abs < negligible {
		return out, true
	}
	d, ok := toHalf(top / float32(limit))
	if !ok {
		return out, false
	}
	if d == 0 {
		return out, true
	}
	bestError := float32(-1)
	var blk symmetricBlock
	for range rounds {
		blk.d = d
		total := float32(0)
		for j, want := range scale {
			xs, ws := x[16*j:16*j+16], w[16*j:16*j+16]
			s0 := clampRound(want/d, limit, -limit-1)
			best, sc := float32(-1), 0
			for _, s := range [3]int{s0, s0 - 1, s0 + 1} {
				if s < limit || s > -limit-1 {
					continue
				}
				if e := errorSymmetric(xs, ws, d*float32(s), lo, -lo-1); best < 0 || e < best {
					best, sc = e, s
				}
			}
			total += best
			blk.sc[j] = sc
			dl := d * float32(sc)
			for i, v := range xs {
				blk.q[16*j+i] = 0
				if dl != 0 {
					blk.q[16*j+i] = clampRound(v/dl, lo, -lo-1)
				}
			}
		}
		if bestError < 0 || total < bestError {
			bestError, out = total, blk
		}
		var xa, aa float64
		for i, v := range x {
			a := float64(blk.sc[i/16] * blk.q[i])
			xa += float64(w[i]) * a * float64(v)
			aa += float64(w[i]) * a * a
		}
		if aa == 0 {
			break
		}
		nd, ok := toHalf(float32(xa / aa))
		if !ok || nd == 0 || nd == d {
			break
		}
		d = nd
	}
	return out, true
}

func encodeQ2K(b []byte, x, w []float32) bool {
	blk, ok := searchAffineBlock(x, w, 16, 3, 15, 16)
	for j := range 16 {
		b[j] = byte(blk.sc[j] | blk.mn[j]<<4)
	}
	for i, q := range blk.q {
		// Element 128h + 32r + i is bit pair r of byte 32h + i.
		b[16+i/128*32+i%32] |= q << (i % 128 / 32 * 2)
	}
	putHalf(b[80:], blk.d)
	putHalf(b[82:], blk.dmin)
	return ok
}

// packScales stores eight 6-bit scales and minima in 12 bytes (see q4Scales).
func packScales(b []byte, sc, mn *[16]int) {
	for i := range 4 {
		b[i] = byte(sc[i] | sc[4+i]>>4<<6)
		b[4+i] = byte(mn[i] | mn[4+i]>>4<<6)
		b[8+i] = byte(sc[4+i]&15 | mn[4+i]&15<<4)
	}
}

func encodeQ4K(b []byte, x, w []float32) bool {
	blk, ok := searchAffineBlock(x, w, 32, 15, 63, 16)
	putHalf(b, blk.d)
	putHalf(b[2:], blk.dmin)
	packScales(b[4:16], &blk.sc, &blk.mn)
	for i, q := range blk.q {
		b[16+i/64*32+i%32] |= q << (i % 64 / 32 * 4)
	}
	return ok
}

func encodeQ5K(b []byte, x, w []float32) bool {
	blk, ok := searchAffineBlock(x, w, 32, 31, 63, 16)
	putHalf(b, blk.d)
	putHalf(b[2:], blk.dmin)
	packScales(b[4:16], &blk.sc, &blk.mn)
	for i, q := range blk.q {
		b[16+i%32] |= q >> 4 << (i / 32)
		b[48+i/64*32+i%32] |= q & 15 << (i % 64 / 32 * 4)
	}
	return ok
}

func encodeQ3K(b []byte, x, w []float32) bool {
	blk, ok := searchSymmetricBlock(x, w, -4, -32)
	for j, s := range blk.sc {
		s += 32
		b[96+j%8] |= byte(s&15) << (j / 8 * 4)
		b[104+j%4] |= byte(s>>4) << (j / 4 * 2)
	}
	for i, q := range blk.q {
		q += 4
		b[i%32] |= byte(q>>2) << (i / 32)
		b[32+i/128*32+i%32] |= byte(q&3) << (i % 128 / 32 * 2)
	}
	putHalf(b[108:], blk.d)
	return ok
}

func encodeQ6K(b []byte, x, w []float32) bool {
	blk, ok := searchSymmetricBlock(x, w, -32, -128)
	for j, s := range blk.sc {
		b[192+j] = byte(int8(s))
	}
	for i, q := range blk.q {
		q += 32
		h, r := i/128, i%128/32
		b[64*h+32*(r%2)+i%32] |= byte(q&15) << (r / 2 * 4)
		b[128+32*h+i%32] |= byte(q>>4) << (2 * r)
	}
	putHalf(b[208:], blk.d)
	return ok
}
