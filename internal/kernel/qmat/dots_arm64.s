#include "textflag.h"

// SDOT Vd.4S, Vn.16B, Vm.4B[i]: four rows times four elements each.
#define SDOT(d, n, m, i) WORD $(0x4f80e000 | ((i)&1)<<21 | (m)<<16 | ((i)>>1)<<11 | (n)<<5 | (d))

// GROUP multiplies four elements of the 16 rows; a is the first of four sums.
#define GROUP(a, m, i) \
	VLD1.P 64(R1), [V4.B16, V5.B16, V6.B16, V7.B16] \
	VEOR   V2.B16, V4.B16, V4.B16                   \
	VEOR   V2.B16, V5.B16, V5.B16                   \
	VEOR   V2.B16, V6.B16, V6.B16                   \
	VEOR   V2.B16, V7.B16, V7.B16                   \
	SDOT(a, 4, m, i)                                \
	SDOT(a+1, 5, m, i)                              \
	SDOT(a+2, 6, m, i)                              \
	SDOT(a+3, 7, m, i)

// func dotsNEON(dot *[2][16]int32, u *[512]uint8, rec *[80]byte)
TEXT ·dotsNEON(SB), NOSPLIT, $0-24
	MOVD  dot+0(FP), R0
	MOVD  u+8(FP), R1
	MOVD  rec+16(FP), R2
	VLD1  (R2), [V0.B16, V1.B16]
	VMOVI $128, V2.B16
	VEOR  V16.B16, V16.B16, V16.B16
	VEOR  V17.B16, V17.B16, V17.B16
	VEOR  V18.B16, V18.B16, V18.B16
	VEOR  V19.B16, V19.B16, V19.B16
	VEOR  V20.B16, V20.B16, V20.B16
	VEOR  V21.B16, V21.B16, V21.B16
	VEOR  V22.B16, V22.B16, V22.B16
	VEOR  V23.B16, V23.B16, V23.B16
	GROUP(16, 0, 0)
	GROUP(16, 0, 1)
	GROUP(16, 0, 2)
	GROUP(16, 0, 3)
	GROUP(20, 1, 0)
	GROUP(20, 1, 1)
	GROUP(20, 1, 2)
	GROUP(20, 1, 3)
	VST1.P [V16.S4, V17.S4, V18.S4, V19.S4], 64(R0)
	VST1   [V20.S4, V21.S4, V22.S4, V23.S4], (R0)
	RET
