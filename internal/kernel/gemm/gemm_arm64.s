#include "textflag.h"

// Micro-kernels for NEON: 16 columns, four rows or one. The fields of type
// tile are at fixed offsets; see gemm.go. Registers: R0 the tile, R1 B, R2 its
// step, R3 steps, R4..R7 rows of A, R8 its step, R9 C, R10 its row distance.
// V0..V15 hold C, V16..V19 (and V24..V27) B, V20..V23 words of A.

#define SETUP \
	MOVD t+0(FP), R0 \
	MOVD 0(R0), R9 \
	MOVD 8(R0), R4 \
	MOVD 16(R0), R1 \
	MOVD 24(R0), R10 \
	MOVD 32(R0), R11 \
	MOVD 40(R0), R8 \
	MOVD 48(R0), R2 \
	MOVD 64(R0), R3 \
	MOVD 88(R0), R12 \
	ADD R11, R4, R5 \
	ADD R11, R5, R6 \
	ADD R11, R6, R7

#define ZERO4(a, b, c, d) \
	VEOR a.B16, a.B16, a.B16 \
	VEOR b.B16, b.B16, b.B16 \
	VEOR c.B16, c.B16, c.B16 \
	VEOR d.B16, d.B16, d.B16

#define FMA(x, b0, b1, b2, b3, c0, c1, c2, c3) \
	VFMLA b0.S4, x.S4, c0.S4 \
	VFMLA b1.S4, x.S4, c1.S4 \
	VFMLA b2.S4, x.S4, c2.S4 \
	VFMLA b3.S4, x.S4, c3.S4

#define BEGIN4 \
	SETUP \
	ZERO4(V0, V1, V2, V3) \
	ZERO4(V4, V5, V6, V7) \
	ZERO4(V8, V9, V10, V11) \
	ZERO4(V12, V13, V14, V15) \
	CBZ R12, loop \
	MOVD R9, R13 \
	VLD1 (R13), [V0.S4, V1.S4, V2.S4, V3.S4] \
	ADD R10, R13 \
	VLD1 (R13), [V4.S4, V5.S4, V6.S4, V7.S4] \
	ADD R10, R13 \
	VLD1 (R13), [V8.S4, V9.S4, V10.S4, V11.S4] \
	ADD R10, R13 \
	VLD1 (R13), [V12.S4, V13.S4, V14.S4, V15.S4]

#define END4 \
	ADD R2, R1 \
	ADD R8, R4 \
	ADD R8, R5 \
	ADD R8, R6 \
	ADD R8, R7 \
	SUBS $1, R3 \
	BNE loop \
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R9) \
	ADD R10, R9 \
	VST1 [V4.S4, V5.S4, V6.S4, V7.S4], (R9) \
	ADD R10, R9 \
	VST1 [V8.S4, V9.S4, V10.S4, V11.S4], (R9) \
	ADD R10, R9 \
	VST1 [V12.S4, V13.S4, V14.S4, V15.S4], (R9) \
	RET

#define BEGIN1 \
	SETUP \
	ZERO4(V0, V1, V2, V3) \
	CBZ R12, loop \
	VLD1 (R9), [V0.S4, V1.S4, V2.S4, V3.S4]

#define END1 \
	ADD R2, R1 \
	ADD R8, R4 \
	SUBS $1, R3 \
	BNE loop \
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R9) \
	RET

#define ROWS4 \
	VLD1R (R4), [V20.S4] \
	VLD1R (R5), [V21.S4] \
	VLD1R (R6), [V22.S4] \
	VLD1R (R7), [V23.S4]

#define FMA4(b0, b1, b2, b3) \
	FMA(V20, b0, b1, b2, b3, V0, V1, V2, V3) \
	FMA(V21, b0, b1, b2, b3, V4, V5, V6, V7) \
	FMA(V22, b0, b1, b2, b3, V8, V9, V10, V11) \
	FMA(V23, b0, b1, b2, b3, V12, V13, V14, V15)

// func tileF32x4(t *tile)
TEXT ·tileF32x4(SB), NOSPLIT, $0-8
	BEGIN4
loop:
	VLD1 (R1), [V16.S4, V17.S4, V18.S4, V19.S4]
	ROWS4
	FMA4(V16, V17, V18, V19)
	END4

// func tileF32x1(t *tile)
TEXT ·tileF32x1(SB), NOSPLIT, $0-8
	BEGIN1
loop:
	VLD1 (R1), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1R (R4), [V20.S4]
	FMA(V20, V16, V17, V18, V19, V0, V1, V2, V3)
	END1

// FCVTL and FCVTL2, which Go's assembler lacks, widen 16 halves in V16 and V17
// to V24..V27.
#define WIDENF16 \
	VLD1 (R1), [V16.H8, V17.H8] \
	WORD $0x0e217a18 \
	WORD $0x4e217a19 \
	WORD $0x0e217a3a \
	WORD $0x4e217a3b

// func tileF16x4(t *tile)
TEXT ·tileF16x4(SB), NOSPLIT, $0-8
	BEGIN4
loop:
	WIDENF16
	ROWS4
	FMA4(V24, V25, V26, V27)
	END4

// func tileF16x1(t *tile)
TEXT ·tileF16x1(SB), NOSPLIT, $0-8
	BEGIN1
loop:
	WIDENF16
	VLD1R (R4), [V20.S4]
	FMA(V20, V24, V25, V26, V27, V0, V1, V2, V3)
	END1

// Pairs of bf16: the even k is the low half of a word. V28 is the mask of the high half.
#define MASK \
	MOVW $0xffff0000, R14 \
	VDUP R14, V28.S4

#define LOWB \
	VLD1 (R1), [V16.S4, V17.S4, V18.S4, V19.S4] \
	VSHL $16, V16.S4, V24.S4 \
	VSHL $16, V17.S4, V25.S4 \
	VSHL $16, V18.S4, V26.S4 \
	VSHL $16, V19.S4, V27.S4 \
	VAND V28.B16, V16.B16, V16.B16 \
	VAND V28.B16, V17.B16, V17.B16 \
	VAND V28.B16, V18.B16, V18.B16 \
	VAND V28.B16, V19.B16, V19.B16

// func tileBF16x4(t *tile)
TEXT ·tileBF16x4(SB), NOSPLIT, $0-8
	MASK
	BEGIN4
loop:
	LOWB
	ROWS4
	VSHL $16, V20.S4, V20.S4
	VSHL $16, V21.S4, V21.S4
	VSHL $16, V22.S4, V22.S4
	VSHL $16, V23.S4, V23.S4
	FMA4(V24, V25, V26, V27)
	ROWS4
	VAND V28.B16, V20.B16, V20.B16
	VAND V28.B16, V21.B16, V21.B16
	VAND V28.B16, V22.B16, V22.B16
	VAND V28.B16, V23.B16, V23.B16
	FMA4(V16, V17, V18, V19)
	END4

// func tileBF16x1(t *tile)
TEXT ·tileBF16x1(SB), NOSPLIT, $0-8
	MASK
	BEGIN1
loop:
	LOWB
	VLD1R (R4), [V20.S4]
	VSHL $16, V20.S4, V21.S4
	FMA(V21, V24, V25, V26, V27, V0, V1, V2, V3)
	VAND V28.B16, V20.B16, V20.B16
	FMA(V20, V16, V17, V18, V19, V0, V1, V2, V3)
	END1
