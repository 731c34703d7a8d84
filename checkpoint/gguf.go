package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"

	"leolm/tensor"
)

// The value types of GGUF metadata.
const (
	ggufU8 = iota
	ggufI8
	ggufU16
	ggufI16
	ggufU32
	ggufI32
	ggufF32
	ggufBool
	ggufString
	ggufArray
	ggufU64
	ggufI64
	ggufF64
)

// ggmlTypes are ggml's numbers for the types that Leo reads.
var ggmlTypes = map[uint32]tensor.DType{
	0: tensor.F32, 1: tensor.F16, 2: tensor.Q4_0, 3: tensor.Q4_1, 6: tensor.Q5_0, 7: tensor.Q5_1, 8: tensor.Q8_0,
	10: tensor.Q2_K, 11: tensor.Q3_K, 12: tensor.Q4_K, 13: tensor.Q5_K, 14: tensor.Q6_K, 20: tensor.IQ4_NL,
	24: tensor.I8, 25: tensor.I16, 26: tensor.I32, 27: tensor.I64, 28: tensor.F64, 30: tensor.BF16,
}

// ggmlForeign names the types that exist but that Leo doesn't read, for errors.
var ggmlForeign = map[uint32]string{
	9: "q8_1", 15: "q8_K", 16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s", 21: "iq3_s", 22: "iq2_s",
	23: "iq4_xs", 29: "iq1_m", 34: "tq1_0", 35: "tq2_0", 39: "mxfp4",
}

// KV is one metadata entry of a GGUF file. Value is a uint8, int8, uint16,
// int16, uint32, int32, float32, bool, string, uint64, int64 or float64, a
// slice of one of these, or []any for arrays of arrays.
type KV struct {
	Key   string
	Value any
}

// GGUF is an open GGUF model: one file or all files of a split one. Its
// metadata is the first file's.
type GGUF struct {
	Version   uint32
	Alignment int
	KV        []KV
	Tensors   []Stored
	Files     []string
	byKey     map[string]int
	maps      []*mapping
}

// Get returns the metadata value of key, or nil.
func (g *GGUF) Get(key string) any {
	if i, ok := g.byKey[key]; ok {
		return g.KV[i].Value
	}
	return nil
}

// Close unmaps the files; no Data may be used afterwards.
func (g *GGUF) Close() error {
	var errs []error
	for _, m := range g.maps {
		errs = append(errs, m.close())
	}
	g.maps = nil
	return errors.Join(errs...)
}

var splitName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// maxSplits bounds the files of one split model.
const maxSplits = 1000

// OpenGGUF maps a GGUF file of version 2 or 3. Any file of a split model
// (name-00001-of-00003.gguf) opens the whole.
func OpenGGUF(path string) (*GGUF, error) {
	paths := []string{path}
	if m := splitName.FindStringSubmatch(filepath.Base(path)); m != nil {
		n, _ := strconv.Atoi(m[3])
		if n < 1 || n > maxSplits {
			return nil, &FormatError{File: path, Offset: -1, Msg: fmt.Sprintf("the name says %d parts; 1 to %d are possible", n, maxSplits)}
		}
		paths = paths[:0]
		for i := 1; i <= n; i++ {
			paths = append(paths, filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-%05d-of-%05d.gguf", m[1], i, n)))
		}
	}
	var whole *GGUF
	for i, p := range paths {
		m, err := openMapping(p)
		if err == nil {
			var g *GGUF
			if g, err = parseGGUF(p, m.data); err == nil {
				g.maps = []*mapping{m}
				err = g.checkSplit(p, i, len(paths))
			} else {
				_ = m.close()
			}
			switch {
			case err != nil && g != nil:
				_ = g.Close()
			case err == nil && whole == nil:
				whole = g
			case err == nil:
				whole.Tensors = append(whole.Tensors, g.Tensors...)
				whole.Files = append(whole.Files, p)
				whole.maps = append(whole.maps, m)
			}
		} else if errors.Is(err, fs.ErrNotExist) && len(paths) > 1 {
			err = fmt.Errorf("%w (part %d of %d of a split model)", err, i+1, len(paths))
		}
		if err != nil {
			if whole != nil {
				_ = whole.Close()
			}
			return nil, err
		}
	}
	if err := whole.checkNames(); err != nil {
		_ = whole.Close()
		return nil, err
	}
	if len(paths) > 1 {
		if n, ok := asInt(whole.Get("split.tensors.count")); ok && n != len(whole.Tensors) {
			_ = whole.Close()
			return nil, &FormatError{File: paths[0], Offset: -1, Msg: fmt.Sprintf("split.tensors.count is %d, the %d files hold %d tensors", n, len(paths), len(whole.Tensors))}
		}
	}
	return whole, nil
}

// checkSplit compares the file's own idea of its place with its name.
func (g *GGUF) checkSplit(path string, index, count int) error {
	no, hasNo := asInt(g.Get("split.no"))
	n, hasCount := asInt(g.Get("split.count"))
	if hasCount && n > 1 && count == 1 {
		return &FormatError{File: path, Offset: -1, Msg: fmt.Sprintf("one part of a model split into %d; name the parts NAME-00001-of-%05d.gguf and so on", n, n)}
	}
	if count > 1 && (hasNo && no != index || hasCount && n != count) {
		return &FormatError{File: path, Offset: -1, Msg: fmt.Sprintf("the metadata says part %d of %d, the name says part %d of %d", no+1, n, index+1, count)}
	}
	return nil
}

func (g *GGUF) checkNames() error {
	seen := make(map[string]bool, len(g.Tensors))
	for i := range g.Tensors {
		t := &g.Tensors[i]
		if seen[t.Name] {
			return &FormatError{File: t.File, Tensor: t.Name, Offset: t.Offset, Msg: "a second tensor of this name"}
		}
		seen[t.Name] = true
	}
	return nil
}

// ParseGGUF reads a GGUF model that is in memory; name stands for the file in errors.
func ParseGGUF(name string, data []byte) (*GGUF, error) {
	g, err := parseGGUF(name, data)
	if err != nil {
		return nil, err
	}
	if err := g.checkSplit(name, 0, 1); err != nil {
		return nil, err
	}
	return g, g.checkNames()
}

// Limits on what a header may say. Every count is also checked against the
// bytes left in the file before anything is allocated.
const (
	maxGGUFKey   = 1 << 16
	maxGGUFDepth = 4 // arrays inside arrays
	maxDims      = 4 // ggml's own limit
)

type ggufParser struct {
	name string
	data []byte
	at   int
}

func (p *ggufParser) fail(at int, format string, args ...any) error {
	return &FormatError{File: p.name, Offset: int64(at), Msg: fmt.Sprintf(format, args...)}
}

func (p *ggufParser) take(n uint64, what string) ([]byte, error) {
	if n > uint64(len(p.data)-p.at) {
		return nil, p.fail(p.at, "%s needs %d bytes, the file has %d more: truncated or damaged", what, n, len(p.data)-p.at)
	}
	b := p.data[p.at : p.at+int(n)]
	p.at += int(n)
	return b, nil
}

func (p *ggufParser) u32(what string) (uint32, error) {
	b, err := p.take(4, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (p *ggufParser) u64(what string) (uint64, error) {
	b, err := p.take(8, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (p *ggufParser) str(what string) (string, error) {
	n, err := p.u64("the length of " + what)
	if err != nil {
		return "", err
	}
	b, err := p.take(n, what)
	return string(b), err
}

func parseGGUF(name string, data []byte) (*GGUF, error) {
	p := &ggufParser{name: name, data: data}
	magic, err := p.take(4, "the magic number")
	if err != nil {
		return nil, err
	}
	if string(magic) != "GGUF" {
		return nil, p.fail(0, "not a GGUF file: starts with %q", magic)
	}
	g := &GGUF{Alignment: 32, Files: []string{name}, byKey: map[string]int{}}
	if g.Version, err = p.u32("the version"); err != nil {
		return nil, err
	}
	switch g.Version {
	case 2, 3:
	case 1:
		return nil, p.fail(4, "GGUF version 1 of August 2023; convert it with a llama.cpp of that autumn")
	case 2 << 24, 3 << 24:
		return nil, p.fail(4, "big-endian GGUF; Leo reads little-endian files")
	default:
		return nil, p.fail(4, "GGUF version %d; Leo reads 2 and 3", g.Version)
	}
	tensors, err := p.u64("the number of tensors")
	if err != nil {
		return nil, err
	}
	kvs, err := p.u64("the number of metadata entries")
	if err != nil {
		return nil, err
	}
	// The smallest tensor entry has 24 bytes (empty name, no extents), the
	// smallest metadata entry 13.
	left := uint64(len(data) - p.at)
	if tensors > left/24 {
		return nil, p.fail(8, "%d tensors can't be described in the %d bytes that follow", tensors, left)
	}
	if kvs > left/13 {
		return nil, p.fail(16, "%d metadata entries can't fit the %d bytes that follow", kvs, left)
	}
	for range kvs {
		at := p.at
		key, err := p.str("a metadata key")
		if err != nil {
			return nil, err
		}
		if len(key) > maxGGUFKey {
			return nil, p.fail(at, "a metadata key of %d bytes", len(key))
		}
		if _, dup := g.byKey[key]; dup {
			return nil, p.fail(at, "metadata key %q appears twice", key)
		}
		typ, err := p.u32("the type of " + key)
		if err != nil {
			return nil, err
		}
		v, err := p.value(key, typ, 0)
		if err != nil {
			return nil, err
		}
		g.byKey[key] = len(g.KV)
		g.KV = append(g.KV, KV{key, v})
	}
	if v := g.Get("general.alignment"); v != nil {
		a, ok := v.(uint32)
		if !ok || a == 0 || a&(a-1) != 0 || a > 1<<20 {
			return nil, p.fail(p.at, "general.alignment is %v; a power of two up to 1048576 is possible", v)
		}
		g.Alignment = int(a)
	}
	return g, p.tensors(g, tensors)
}

// tensors reads the table of tensors and places each in the data that follows it.
func (p *ggufParser) tensors(g *GGUF, count uint64) error {
	g.Tensors = make([]Stored, count)
	offsets := make([]uint64, count)
	for i := range g.Tensors {
		var err error
		if offsets[i], err = p.tensor(&g.Tensors[i]); err != nil {
			return err
		}
	}
	start := (uint64(p.at) + uint64(g.Alignment) - 1) / uint64(g.Alignment) * uint64(g.Alignment)
	if count > 0 && start > uint64(len(p.data)) {
		return p.fail(p.at, "the file ends before the tensors' data, which starts at byte %d", start)
	}
	for i := range g.Tensors {
		t := &g.Tensors[i]
		fail := func(format string, args ...any) error {
			return &FormatError{File: p.name, Tensor: t.Name, Offset: t.Offset, Msg: fmt.Sprintf(format, args...)}
		}
		size, err := t.Shape.Size(t.DType)
		if err != nil {
			t.Offset = -1
			return fail("%v", err)
		}
		off := offsets[i]
		if off%uint64(g.Alignment) != 0 {
			t.Offset = -1
			return fail("placed at %d, not a multiple of the alignment %d", off, g.Alignment)
		}
		room := uint64(len(p.data)) - start
		if off > room || uint64(size) > room-off {
			t.Offset = -1
			return fail("%d bytes at %d lie beyond the end of the file (%d bytes): truncated or damaged", size, off, len(p.data))
		}
		t.Offset = int64(start + off)
		t.Data = p.data[t.Offset : t.Offset+int64(size) : t.Offset+int64(size)]
	}
	return g.checkOverlap()
}

// tensor reads what a file says of a tensor, and returns its place behind the start of the data.
func (p *ggufParser) tensor(t *Stored) (uint64, error) {
	at := p.at
	name, err := p.str("a tensor name")
	if err != nil {
		return 0, err
	}
	t.Name, t.File = name, p.name
	fail := func(format string, args ...any) error {
		return &FormatError{File: p.name, Tensor: name, Offset: int64(at), Msg: fmt.Sprintf(format, args...)}
	}
	dims, err := p.u32("the extents of " + name)
	if err != nil {
		return 0, err
	}
	if dims > maxDims {
		return 0, fail("%d dimensions; at most %d are possible", dims, maxDims)
	}
	t.Shape = make(tensor.Shape, dims)
	for d := range t.Shape {
		e, err := p.u64("the extents of " + name)
		if err != nil {
			return 0, err
		}
		if e > math.MaxInt {
			return 0, fail("an extent of %d", e)
		}
		t.Shape[int(dims)-1-d] = int(e)
	}
	typ, err := p.u32("the type of " + name)
	if err != nil {
		return 0, err
	}
	d, ok := ggmlTypes[typ]
	if !ok {
		if n, ok := ggmlForeign[typ]; ok {
			return 0, fail("stored as %s, which Leo doesn't read", n)
		}
		return 0, fail("unknown type %d", typ)
	}
	t.DType = d
	return p.u64("the place of " + name)
}

// checkOverlap checks that tensors share no bytes.
func (g *GGUF) checkOverlap() error {
	order := make([]int, len(g.Tensors))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(a, b int) bool { return g.Tensors[order[a]].Offset < g.Tensors[order[b]].Offset })
	end, last := int64(0), ""
	for _, i := range order {
		t := &g.Tensors[i]
		if len(t.Data) == 0 {
			continue
		}
		if t.Offset < end {
			return &FormatError{File: t.File, Tensor: t.Name, Offset: t.Offset, Msg: fmt.Sprintf("overlaps tensor %q, which ends at byte %d", last, end)}
		}
		end, last = t.Offset+int64(len(t.Data)), t.Name
	}
	return nil
}
