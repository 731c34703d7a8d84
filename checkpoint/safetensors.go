package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"

	"leolm/internal/durable"
	"leolm/tensor"
)

// The names of data types in safetensors headers.
var safetensorsTypes = map[string]tensor.DType{
	"F64": tensor.F64, "F32": tensor.F32, "F16": tensor.F16, "BF16": tensor.BF16,
	"I64": tensor.I64, "I32": tensor.I32, "I16": tensor.I16, "I8": tensor.I8, "U8": tensor.U8, "BOOL": tensor.Bool,
}

var safetensorsNames = func() map[tensor.DType]string {
	m := map[tensor.DType]string{}
	for n, d := range safetensorsTypes {
		m[d] = n
	}
	return m
}()

// maxSafetensorsHeader is the limit of the format's own reader.
const maxSafetensorsHeader = 100_000_000

// Safetensors is one open safetensors file.
type Safetensors struct {
	File     string
	Metadata map[string]string // "__metadata__"
	Tensors  []Stored          // in header order
	m        *mapping
}

// OpenSafetensors maps a file and checks its header: every tensor inside the
// file, none overlapping, no byte of data without a tensor (as the format asks).
func OpenSafetensors(path string) (*Safetensors, error) {
	m, err := openMapping(path)
	if err != nil {
		return nil, err
	}
	s, err := ParseSafetensors(path, m.data)
	if err != nil {
		_ = m.close()
		return nil, err
	}
	s.m = m
	return s, nil
}

// Close unmaps the file; no Data may be used afterwards.
func (s *Safetensors) Close() error {
	if s.m == nil {
		return nil
	}
	return s.m.close()
}

// Tensor finds a tensor by name.
func (s *Safetensors) Tensor(name string) (*Stored, bool) {
	for i := range s.Tensors {
		if s.Tensors[i].Name == name {
			return &s.Tensors[i], true
		}
	}
	return nil, false
}

// ParseSafetensors reads a safetensors file that is in memory; name stands for
// the file in errors.
func ParseSafetensors(name string, data []byte) (*Safetensors, error) {
	fail := func(at int64, format string, args ...any) error {
		return &FormatError{File: name, Offset: at, Msg: fmt.Sprintf(format, args...)}
	}
	if len(data) < 8 {
		return nil, fail(0, "%d bytes are too few for a safetensors file", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxSafetensorsHeader {
		return nil, fail(0, "a header of %d bytes; the format allows %d: not a safetensors file, or damaged", n, maxSafetensorsHeader)
	}
	if n > uint64(len(data)-8) {
		return nil, fail(0, "a header of %d bytes in a file of %d: truncated or damaged", n, len(data))
	}
	header := data[8 : 8+n]
	s := &Safetensors{File: name}
	dec := json.NewDecoder(bytes.NewReader(header))
	if err := s.readHeader(dec, data[8+n:], int64(8+n)); err != nil {
		return nil, err
	}
	if rest := bytes.TrimSpace(header[dec.InputOffset():]); len(rest) > 0 {
		return nil, fail(8+dec.InputOffset(), "%d bytes after the header's JSON", len(rest))
	}
	if err := s.checkPlaces(int64(8+n), int64(len(data))); err != nil {
		return nil, err
	}
	return s, nil
}

// readHeader reads the JSON object that names the tensors; body, at byte base of the file, holds them.
func (s *Safetensors) readHeader(dec *json.Decoder, body []byte, base int64) error {
	bad := func(err error) error {
		var syntax *json.SyntaxError
		at := 8 + dec.InputOffset()
		if errors.As(err, &syntax) {
			at = 8 + syntax.Offset
		}
		return &FormatError{File: s.File, Offset: at, Msg: "in the JSON header", Err: err}
	}
	if tok, err := dec.Token(); err != nil {
		return bad(err)
	} else if tok != json.Delim('{') {
		return &FormatError{File: s.File, Offset: 8, Msg: "the header is not a JSON object"}
	}
	seen := map[string]bool{}
	for dec.More() {
		at := 8 + dec.InputOffset()
		tok, err := dec.Token()
		if err != nil {
			return bad(err)
		}
		key, _ := tok.(string)
		if seen[key] {
			return &FormatError{File: s.File, Tensor: key, Offset: at, Msg: "appears twice in the header"}
		}
		seen[key] = true
		if key == "__metadata__" {
			if err := dec.Decode(&s.Metadata); err != nil {
				return bad(err)
			}
			continue
		}
		t, err := s.readTensor(dec, key, at, body, base)
		if err != nil {
			return err
		}
		s.Tensors = append(s.Tensors, t)
	}
	if _, err := dec.Token(); err != nil {
		return bad(err)
	}
	return nil
}

// readTensor reads what the header says of a tensor, at byte at.
func (s *Safetensors) readTensor(dec *json.Decoder, key string, at int64, body []byte, base int64) (Stored, error) {
	t := Stored{Name: key, File: s.File, Offset: at}
	fail := func(format string, args ...any) (Stored, error) {
		return t, &FormatError{File: s.File, Tensor: key, Offset: at, Msg: fmt.Sprintf(format, args...)}
	}
	var entry struct {
		DType   string   `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets []uint64 `json:"data_offsets"`
	}
	if err := dec.Decode(&entry); err != nil {
		return t, &FormatError{File: s.File, Tensor: key, Offset: at, Msg: "in the JSON header", Err: err}
	}
	var ok bool
	if t.DType, ok = safetensorsTypes[entry.DType]; !ok {
		t.Foreign = entry.DType
	}
	if len(entry.Offsets) != 2 {
		return fail("data_offsets holds %d numbers instead of 2", len(entry.Offsets))
	}
	t.Shape = entry.Shape
	from, to := entry.Offsets[0], entry.Offsets[1]
	if from > to || to > uint64(len(body)) {
		return fail("lies at bytes %d to %d of %d of data: truncated or damaged", from, to, len(body))
	}
	if t.Foreign == "" {
		size, err := t.Shape.Size(t.DType)
		if err != nil {
			return fail("%v", err)
		}
		if uint64(size) != to-from {
			return fail("shape %v of %v takes %d bytes, data_offsets say %d", t.Shape, t.DType, size, to-from)
		}
	}
	t.Offset = base + int64(from)
	t.Data = body[from:to:to]
	return t, nil
}

// checkPlaces checks that the tensors fill the file from base to its end, without gaps or overlaps.
func (s *Safetensors) checkPlaces(base, size int64) error {
	order := make([]int, len(s.Tensors))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return s.Tensors[order[a]].Offset < s.Tensors[order[b]].Offset })
	end := base
	for _, i := range order {
		t := &s.Tensors[i]
		switch {
		case len(t.Data) == 0:
			continue
		case t.Offset < end:
			return &FormatError{File: s.File, Tensor: t.Name, Offset: t.Offset, Msg: fmt.Sprintf("overlaps the tensor before it, which ends at byte %d", end)}
		case t.Offset > end:
			return &FormatError{File: s.File, Tensor: t.Name, Offset: t.Offset, Msg: fmt.Sprintf("%d bytes before it belong to no tensor", t.Offset-end)}
		}
		end = t.Offset + int64(len(t.Data))
	}
	if end != size {
		return &FormatError{File: s.File, Offset: end, Msg: fmt.Sprintf("%d bytes at the end belong to no tensor", size-end)}
	}
	return nil
}

// Output is a tensor to be written: Write gives exactly the bytes
// that Shape and DType imply.
type Output struct {
	Name  string
	DType tensor.DType
	Shape tensor.Shape
	Write func(w io.Writer) error
}

// WriteSafetensors writes a file atomically, one tensor after the other, never
// holding more than one tensor's row in memory itself.
func WriteSafetensors(path string, metadata map[string]string, tensors []Output) error {
	header, total, err := safetensorsHeader(metadata, tensors)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := durable.Need(path, total+int64(len(header))); err != nil {
		return err
	}
	return durable.WriteTo(path, func(file io.Writer) error {
		w := bufio.NewWriterSize(file, 1<<20)
		if _, err := w.Write(header); err != nil {
			return err
		}
		for _, t := range tensors {
			size, _ := t.Shape.Size(t.DType)
			if err := writeExactly(w, int64(size), t.Write); err != nil {
				return fmt.Errorf("%s: tensor %q: %w", path, t.Name, err)
			}
		}
		return w.Flush()
	})
}

// safetensorsHeader returns the length field and JSON, padded to 8 bytes, and
// the size of the data.
func safetensorsHeader(metadata map[string]string, tensors []Output) ([]byte, int64, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteByte('{')
	first := true
	entry := func(key string, value any) error {
		if !first {
			b.WriteByte(',')
		}
		first = false
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		if err != nil {
			return err
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
		return nil
	}
	if len(metadata) > 0 {
		if err := entry("__metadata__", metadata); err != nil {
			return nil, 0, err
		}
	}
	var at int64
	seen := map[string]bool{}
	for _, t := range tensors {
		name, ok := safetensorsNames[t.DType]
		if !ok {
			return nil, 0, fmt.Errorf("tensor %q: safetensors can't hold %v", t.Name, t.DType)
		}
		if seen[t.Name] || t.Name == "__metadata__" {
			return nil, 0, fmt.Errorf("tensor %q: the name is taken", t.Name)
		}
		seen[t.Name] = true
		size, err := t.Shape.Size(t.DType)
		if err != nil {
			return nil, 0, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		shape := t.Shape
		if shape == nil {
			shape = tensor.Shape{}
		}
		if err := entry(t.Name, struct {
			DType   string       `json:"dtype"`
			Shape   tensor.Shape `json:"shape"`
			Offsets [2]int64     `json:"data_offsets"`
		}{name, shape, [2]int64{at, at + int64(size)}}); err != nil {
			return nil, 0, err
		}
		at += int64(size)
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	h := b.Bytes()
	binary.LittleEndian.PutUint64(h, uint64(len(h)-8))
	return h, at, nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// writeExactly fails when write gives another number of bytes than size.
func writeExactly(w io.Writer, size int64, write func(io.Writer) error) error {
	c := &countingWriter{w: w}
	if err := write(c); err != nil {
		return err
	}
	if c.n != size {
		return fmt.Errorf("%d bytes were written where %d belong", c.n, size)
	}
	return nil
}
