#include "textflag.h"

// Sixteen elements at a time, in V0-V3 and V4-V7. Go's assembler lacks these
// instructions on vectors:
#define FMUL(m, n, d) WORD $(0x6e20dc00 | (m)<<16 | (n)<<5 | (d))
#define FADD(m, n, d) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d))
// Four of the lower or upper eight 16-bit words to 32 bits: f16 widened, and
// bf16 shifted left by 16.
#define FCVTL(n, d) WORD $(0x0e217800 | (n)<<5 | (d))
#define FCVTL2(n, d) WORD $(0x4e217800 | (n)<<5 | (d))
#define SHLL(n, d) WORD $(0x2e613800 | (n)<<5 | (d))
#define SHLL2(n, d) WORD $(0x6e613800 | (n)<<5 | (d))

// func mulScaledNEON(y, x, gain *float32, n int, s float32)
TEXT ·mulScaledNEON(SB), NOSPLIT, $0-36
	MOVD  y+0(FP), R0
	MOVD  x+8(FP), R1
	MOVD  gain+16(FP), R2
	MOVD  n+24(FP), R3
	FMOVS s+32(FP), F16
	VDUP  V16.S[0], V16.S4
loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]
	FMUL(16, 0, 0)
	FMUL(16, 1, 1)
	FMUL(16, 2, 2)
	FMUL(16, 3, 3)
	FMUL(4, 0, 0)
	FMUL(5, 1, 1)
	FMUL(6, 2, 2)
	FMUL(7, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS   $16, R3
	BNE    loop
	RET

// func dotNEON(s, a, b *float32, n int)
TEXT ·dotNEON(SB), NOSPLIT, $0-32
	MOVD s+0(FP), R0
	MOVD a+8(FP), R1
	MOVD b+16(FP), R2
	MOVD n+24(FP), R3
	VLD1 (R0), [V16.S4, V17.S4, V18.S4, V19.S4]
loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]
	VFMLA  V4.S4, V0.S4, V16.S4
	VFMLA  V5.S4, V1.S4, V17.S4
	VFMLA  V6.S4, V2.S4, V18.S4
	VFMLA  V7.S4, V3.S4, V19.S4
	SUBS   $16, R3
	BNE    loop
	VST1   [V16.S4, V17.S4, V18.S4, V19.S4], (R0)
	RET

// func addNEON(y, a, b *float32, n int)
TEXT ·addNEON(SB), NOSPLIT, $0-32
	MOVD y+0(FP), R0
	MOVD a+8(FP), R1
	MOVD b+16(FP), R2
	MOVD n+24(FP), R3
loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]
	FADD(4, 0, 0)
	FADD(5, 1, 1)
	FADD(6, 2, 2)
	FADD(7, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS   $16, R3
	BNE    loop
	RET

// func scaleNEON(y, x *float32, n int, s float32)
TEXT ·scaleNEON(SB), NOSPLIT, $0-28
	MOVD  y+0(FP), R0
	MOVD  x+8(FP), R1
	MOVD  n+16(FP), R3
	FMOVS s+24(FP), F16
	VDUP  V16.S[0], V16.S4
loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	FMUL(16, 0, 0)
	FMUL(16, 1, 1)
	FMUL(16, 2, 2)
	FMUL(16, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS   $16, R3
	BNE    loop
	RET

// func axpbyNEON(y, x *float32, n int, a, b float32)
TEXT ·axpbyNEON(SB), NOSPLIT, $0-32
	MOVD  y+0(FP), R0
	MOVD  x+8(FP), R1
	MOVD  n+16(FP), R3
	FMOVS a+24(FP), F16
	VDUP  V16.S[0], V16.S4
	FMOVS b+28(FP), F17
	VDUP  V17.S[0], V17.S4
loop:
	VLD1   (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	FMUL(17, 0, 0)
	FMUL(17, 1, 1)
	FMUL(17, 2, 2)
	FMUL(17, 3, 3)
	VFMLA  V4.S4, V16.S4, V0.S4
	VFMLA  V5.S4, V16.S4, V1.S4
	VFMLA  V6.S4, V16.S4, V2.S4
	VFMLA  V7.S4, V16.S4, V3.S4
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS   $16, R3
	BNE    loop
	RET

// func f32FromBF16NEON(dst *float32, src *uint16, n int)
TEXT ·f32FromBF16NEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R3
loop:
	VLD1.P 32(R1), [V4.H8, V5.H8]
	SHLL(4, 0)
	SHLL2(4, 1)
	SHLL(5, 2)
	SHLL2(5, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS   $16, R3
	BNE    loop
	RET

// func f32FromF16NEON(dst *float32, src *uint16, n int)
TEXT ·f32FromF16NEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R3
loop:
	VLD1.P 32(R1), [V4.H8, V5.H8]
	FCVTL(4, 0)
	FCVTL2(4, 1)
	FCVTL(5, 2)
	FCVTL2(5, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS   $16, R3
	BNE    loop
	RET
