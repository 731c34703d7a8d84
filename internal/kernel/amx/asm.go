package amx

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Program is the text of a file of Go assembly for amd64, as avo writes it, ready to run: instructions of the subset that
// the kernels use, and BYTE lines, which are decoded as tile instructions.
type Program struct {
	functions map[string]*function
	data      map[string][]byte
}

// function is a TEXT block.
type function struct {
	frame  int // bytes of locals
	code   []instruction
	labels map[string]int
}

// instruction is one line, or the BYTE lines of one tile instruction.
type instruction struct {
	line  int
	op    string // without suffixes
	bcst  bool   // .BCST: the memory operand is one word for all lanes
	zero  bool   // .Z: lanes that the mask leaves out become zero
	args  []operand
	tile  Tile
	bytes []byte // of a tile instruction
}

type operandKind uint8

const (
	immediate operandKind = iota
	general64             // a general register
	vector                // X, Y or Z register
	mask                  // K register
	memory
	argument // name+off(FP)
	symbol   // name<>+off(SB)
	label
)

type operand struct {
	kind        operandKind
	value       int64 // of an immediate; the displacement of memory
	reg         int   // number of a register, or of the base
	index       int   // register of the index, or −1
	scale       int64
	name        string // of a label or a symbol
	vectorBytes int    // 16, 32 or 64
}

// ParseFile is Parse of a file.
func ParseFile(name string) (*Program, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	p, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// Parse reads the text.
func Parse(text string) (*Program, error) {
	p := &Program{functions: map[string]*function{}, data: map[string][]byte{}}
	var f *function
	var bytes []byte
	first := 0
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "//")
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		for part := range strings.SplitSeq(line, ";") {
			part = strings.TrimSpace(part)
			word, rest, _ := strings.Cut(part, " ")
			rest = strings.TrimSpace(rest)
			if len(bytes) > 0 && word != "BYTE" {
				return nil, fmt.Errorf("line %d: bytes that make no whole instruction: % x", first, bytes)
			}
			var err error
			switch {
			case word == "TEXT":
				f, err = p.text(rest)
			case word == "DATA":
				err = p.datum(rest)
			case word == "GLOBL":
			case f == nil:
				err = fmt.Errorf("%q outside a function", part)
			case strings.HasSuffix(word, ":"):
				f.labels[strings.TrimSuffix(word, ":")] = len(f.code)
			case word == "BYTE":
				if len(bytes) == 0 {
					first = n
				}
				bytes, err = f.byte(first, bytes, rest)
			default:
				err = f.instruction(n, word, rest)
			}
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
	return p, nil
}

// text opens "·name(SB), FLAGS, $frame-args".
func (p *Program) text(rest string) (*function, error) {
	name, after, ok := strings.Cut(rest, "(SB)")
	_, size, _ := strings.Cut(after, "$")
	frame, _, _ := strings.Cut(size, "-")
	bytes, err := strconv.Atoi(frame)
	if !ok || err != nil {
		return nil, fmt.Errorf("TEXT %s: not understood", rest)
	}
	f := &function{frame: bytes, labels: map[string]int{}}
	p.functions[strings.TrimPrefix(name, "·")] = f
	return f, nil
}

// datum adds "name<>+off(SB)/size, $value".
func (p *Program) datum(rest string) error {
	where, value, ok := strings.Cut(rest, ",")
	place, width, ok2 := strings.Cut(where, "/")
	sym, err := parseOperand(place)
	size, err2 := strconv.Atoi(width)
	v, err3 := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(value), "$"), 0, 64)
	if !ok || !ok2 || err != nil || err2 != nil || err3 != nil || sym.kind != symbol {
		return fmt.Errorf("DATA %s: not understood", rest)
	}
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], v)
	d := p.data[sym.name]
	for len(d) < int(sym.value)+size {
		d = append(d, 0)
	}
	copy(d[sym.value:], word[:size])
	p.data[sym.name] = d
	return nil
}

// byte adds one byte, and the instruction that the bytes make once they make one.
func (f *function) byte(line int, bytes []byte, rest string) ([]byte, error) {
	v, err := strconv.ParseUint(strings.TrimPrefix(rest, "$"), 0, 8)
	if err != nil {
		return nil, fmt.Errorf("BYTE %s: %w", rest, err)
	}
	bytes = append(bytes, byte(v))
	t, n, err := Decode(bytes)
	switch {
	case err != nil && bytes[0] == 0x62 && len(bytes) == 6: // EVEX, such as VDPBF16PS: kept, and refused where it would run
		f.code = append(f.code, instruction{line: line, op: fmt.Sprintf("BYTES % x", bytes)})
		return nil, nil
	case err != nil && len(bytes) < 10:
		return bytes, nil
	case err != nil:
		return nil, err
	case n != len(bytes):
		return nil, fmt.Errorf("%d bytes for an instruction of %d", len(bytes), n)
	}
	f.code = append(f.code, instruction{line: line, tile: t, bytes: bytes, op: t.Op.String()})
	return nil, nil
}

func (f *function) instruction(line int, word, rest string) error {
	parts := strings.Split(word, ".")
	in := instruction{line: line, op: parts[0]}
	for _, s := range parts[1:] {
		switch s {
		case "BCST":
			in.bcst = true
		case "Z":
			in.zero = true
		default:
			return fmt.Errorf("%s: suffix %s", word, s)
		}
	}
	if rest != "" {
		for text := range strings.SplitSeq(rest, ",") {
			o, err := parseOperand(strings.TrimSpace(text))
			if err != nil {
				return fmt.Errorf("%s: %w", word, err)
			}
			in.args = append(in.args, o)
		}
	}
	f.code = append(f.code, in)
	return nil
}

// generalNumbers are the numbers of the general registers by Go's names.
var generalNumbers = map[string]int{"AX": 0, "CX": 1, "DX": 2, "BX": 3, "SP": 4, "BP": 5, "SI": 6, "DI": 7,
	"R8": 8, "R9": 9, "R10": 10, "R11": 11, "R12": 12, "R13": 13, "R14": 14, "R15": 15}

func parseOperand(s string) (operand, error) {
	o := operand{index: -1, scale: 1}
	if s == "" {
		return o, fmt.Errorf("an empty operand")
	}
	if r, ok := generalNumbers[s]; ok {
		o.kind, o.reg = general64, r
		return o, nil
	}
	if s[0] == '$' {
		v, err := strconv.ParseInt(s[1:], 0, 64)
		if err != nil {
			u, err := strconv.ParseUint(s[1:], 0, 64)
			o.value = int64(u)
			return o, err
		}
		o.value = v
		return o, nil
	}
	if width := map[byte]int{'X': 16, 'Y': 32, 'Z': 64, 'K': 8}[s[0]]; width != 0 {
		if n, err := strconv.Atoi(s[1:]); err == nil {
			o.kind, o.reg, o.vectorBytes = vector, n, width
			if width == 8 {
				o.kind = mask
			}
			return o, nil
		}
	}
	open := strings.IndexByte(s, '(')
	if open < 0 {
		o.kind, o.name = label, s
		return o, nil
	}
	return parseMemory(o, s[:open], s[open:])
}

// parseMemory reads disp(base)(index*scale), name+off(FP) and name<>+off(SB).
func parseMemory(o operand, before, inside string) (operand, error) {
	disp := before
	if i := strings.LastIndexByte(before, '+'); i > 0 {
		o.name, disp = before[:i], before[i+1:]
	}
	if disp != "" {
		v, err := strconv.ParseInt(disp, 0, 64)
		if err != nil {
			return o, fmt.Errorf("displacement %q", disp)
		}
		o.value = v
	}
	base, index, _ := strings.Cut(strings.Trim(inside, "()"), ")(")
	switch base {
	case "FP":
		o.kind = argument
		return o, nil
	case "SB":
		o.kind, o.name = symbol, strings.TrimSuffix(o.name, "<>")
		return o, nil
	}
	r, ok := generalNumbers[base]
	if !ok {
		return o, fmt.Errorf("memory at %q", inside)
	}
	o.kind, o.reg = memory, r
	if index != "" {
		name, scale, _ := strings.Cut(index, "*")
		n, err := strconv.Atoi(scale)
		i, ok := generalNumbers[name]
		if err != nil || !ok {
			return o, fmt.Errorf("index %q", index)
		}
		o.index, o.scale = i, int64(n)
	}
	return o, nil
}
