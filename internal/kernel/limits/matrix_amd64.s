// Peak loops of the matrix units: four independent products of tiles in registers.

#include "textflag.h"

// func bf16Tiles(config *byte, n int)
TEXT ·bf16Tiles(SB), NOSPLIT, $0-16
	MOVQ config+0(FP), AX
	MOVQ n+8(FP), CX

	// LDTILECFG (AX)
	BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0x00

loop:
	// TDPBF16PS TMM6, TMM4, TMM0
	BYTE $0xc4; BYTE $0xe2; BYTE $0x4a; BYTE $0x5c; BYTE $0xc4
	// TDPBF16PS TMM7, TMM4, TMM1
	BYTE $0xc4; BYTE $0xe2; BYTE $0x42; BYTE $0x5c; BYTE $0xcc
	// TDPBF16PS TMM6, TMM5, TMM2
	BYTE $0xc4; BYTE $0xe2; BYTE $0x4a; BYTE $0x5c; BYTE $0xd5
	// TDPBF16PS TMM7, TMM5, TMM3
	BYTE $0xc4; BYTE $0xe2; BYTE $0x42; BYTE $0x5c; BYTE $0xdd
	DECQ CX
	JNZ  loop

	// TILERELEASE
	BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0xc0
	RET

// func int8Tiles(config *byte, n int)
TEXT ·int8Tiles(SB), NOSPLIT, $0-16
	MOVQ config+0(FP), AX
	MOVQ n+8(FP), CX

	// LDTILECFG (AX)
	BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0x00

loop:
	// TDPBSUD TMM6, TMM4, TMM0
	BYTE $0xc4; BYTE $0xe2; BYTE $0x4a; BYTE $0x5e; BYTE $0xc4
	// TDPBSUD TMM7, TMM4, TMM1
	BYTE $0xc4; BYTE $0xe2; BYTE $0x42; BYTE $0x5e; BYTE $0xcc
	// TDPBSUD TMM6, TMM5, TMM2
	BYTE $0xc4; BYTE $0xe2; BYTE $0x4a; BYTE $0x5e; BYTE $0xd5
	// TDPBSUD TMM7, TMM5, TMM3
	BYTE $0xc4; BYTE $0xe2; BYTE $0x42; BYTE $0x5e; BYTE $0xdd
	DECQ CX
	JNZ  loop

	// TILERELEASE
	BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0xc0
	RET
