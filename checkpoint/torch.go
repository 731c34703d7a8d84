package checkpoint

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"leolm/tensor"
)

var torchStorages = map[pickleGlobal]tensor.DType{
	"torch.FloatStorage": tensor.F32, "torch.HalfStorage": tensor.F16, "torch.BFloat16Storage": tensor.BF16,
	"torch.DoubleStorage": tensor.F64, "torch.LongStorage": tensor.I64, "torch.IntStorage": tensor.I32,
	"torch.ShortStorage": tensor.I16, "torch.CharStorage": tensor.I8, "torch.ByteStorage": tensor.U8, "torch.BoolStorage": tensor.Bool,
}

// PyTorch is one open file of torch.save that holds a dictionary of tensors.
type PyTorch struct {
	File    string
	Tensors []Stored
	Ignored []string // entries that are no tensors
	m       *mapping
}

// maxPickle bounds data.pkl; a model of a thousand layers has a few MB.
const maxPickle = 256 << 20

// OpenPyTorch maps a file that torch.save has written (the zip format of
// PyTorch 1.6 and later, zip64 included) and finds its tensors by running its
// pickle in a machine that can do nothing else. Data stays in the map.
func OpenPyTorch(name string) (*PyTorch, error) {
	m, err := openMapping(name)
	if err != nil {
		return nil, err
	}
	p, err := ParsePyTorch(name, m.data)
	if err != nil {
		_ = m.close()
		return nil, err
	}
	p.m = m
	return p, nil
}

// Close unmaps the file; no Data may be used afterwards.
func (p *PyTorch) Close() error {
	if p.m == nil {
		return nil
	}
	return p.m.close()
}

// ParsePyTorch reads a file of torch.save that is in memory; name stands for
// the file in errors.
func ParsePyTorch(name string, data []byte) (*PyTorch, error) {
	z, err := openTorchArchive(name, data)
	if err != nil {
		return nil, err
	}
	dict, at, err := z.pickle()
	if err != nil {
		return nil, err
	}
	p := &PyTorch{File: name}
	seen := map[string]bool{}
	for _, item := range dict.items {
		key, ok := item.key.(string)
		if !ok {
			return nil, &FormatError{File: name, Offset: at, Msg: fmt.Sprintf("a tensor's name is a %T", item.key)}
		}
		if seen[key] {
			return nil, &FormatError{File: name, Tensor: key, Offset: at, Msg: "appears twice"}
		}
		seen[key] = true
		t, ok := item.value.(pickleTensor)
		if !ok {
			p.Ignored = append(p.Ignored, key)
			continue
		}
		f := z.files[z.root+"data/"+t.storage.key]
		if f == nil {
			return nil, &FormatError{File: name, Tensor: key, Offset: at, Msg: fmt.Sprintf("its storage %q is not in the archive", t.storage.key)}
		}
		where, bytes, err := z.place(f)
		if err != nil {
			return nil, err
		}
		s, err := t.stored(where, bytes)
		if err != nil {
			return nil, &FormatError{File: name, Tensor: key, Offset: where, Err: err}
		}
		s.Name, s.File = key, name
		p.Tensors = append(p.Tensors, s)
	}
	return p, nil
}

// torchArchive is the zip archive that torch.save writes.
type torchArchive struct {
	name  string
	data  []byte
	files map[string]*zip.File
	pkl   *zip.File
	root  string // folder of pkl
}

func (z *torchArchive) fail(format string, args ...any) error {
	return &FormatError{File: z.name, Offset: -1, Msg: fmt.Sprintf(format, args...)}
}

func openTorchArchive(name string, data []byte) (*torchArchive, error) {
	z := &torchArchive{name: name, data: data, files: map[string]*zip.File{}}
	if !bytes.HasPrefix(data, []byte("PK")) {
		if err := pointer(name, data); err != nil {
			return nil, err
		}
		return nil, z.fail("not a zip archive: damaged, or written by a PyTorch before 1.6 (load and save it there once)")
	}
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, &FormatError{File: name, Offset: -1, Msg: "broken zip archive: truncated or damaged", Err: err}
	}
	for _, f := range r.File {
		if z.files[f.Name] != nil {
			return nil, z.fail("the archive holds %q twice", f.Name)
		}
		z.files[f.Name] = f
		if path.Base(f.Name) == "data.pkl" && strings.Count(f.Name, "/") <= 1 {
			if z.pkl != nil {
				return nil, z.fail("the archive holds two data.pkl")
			}
			z.pkl, z.root = f, strings.TrimSuffix(f.Name, "data.pkl")
		}
	}
	if z.pkl == nil {
		return nil, z.fail("the archive holds no data.pkl: not a file of torch.save")
	}
	if f := z.files[z.root+"byteorder"]; f != nil {
		if _, b, err := z.place(f); err != nil {
			return nil, err
		} else if string(b) != "little" {
			return nil, z.fail("byte order %q; Leo reads little-endian files", abbreviate(b))
		}
	}
	return z, nil
}

// place finds the bytes of a stored (uncompressed) file of the archive.
func (z *torchArchive) place(f *zip.File) (int64, []byte, error) {
	if f.Method != zip.Store {
		return 0, nil, z.fail("%q is compressed, which torch.save never does", f.Name)
	}
	at, err := f.DataOffset()
	if err != nil {
		return 0, nil, &FormatError{File: z.name, Offset: -1, Msg: fmt.Sprintf("broken entry %q", f.Name), Err: err}
	}
	if at < 0 || at > int64(len(z.data)) || f.UncompressedSize64 > uint64(int64(len(z.data))-at) {
		return 0, nil, &FormatError{File: z.name, Offset: at, Msg: fmt.Sprintf("%q reaches beyond the end of the file: truncated or damaged", f.Name)}
	}
	end := at + int64(f.UncompressedSize64)
	return at, z.data[at:end:end], nil
}

// pickle runs data.pkl, which lies at byte at.
func (z *torchArchive) pickle() (dict *pickleDict, at int64, err error) {
	at, program, err := z.place(z.pkl)
	if err != nil {
		return nil, 0, err
	}
	fail := func(err error, format string, args ...any) (*pickleDict, int64, error) {
		return nil, 0, &FormatError{File: z.name, Offset: at, Msg: fmt.Sprintf(format, args...), Err: err}
	}
	if len(program) > maxPickle {
		return fail(nil, "data.pkl of %d bytes; %d are allowed", len(program), maxPickle)
	}
	// The pickle is small and everything hangs on it: hold it against its checksum.
	if r, err := z.pkl.Open(); err != nil {
		return fail(err, "data.pkl")
	} else if _, err := io.Copy(io.Discard, r); err != nil {
		return fail(err, "data.pkl is damaged")
	}
	obj, err := runPickle(program)
	if err != nil {
		var pe *pickleError
		if errors.As(err, &pe) {
			return nil, 0, &FormatError{File: z.name, Offset: at + int64(pe.at), Msg: "data.pkl: " + pe.msg}
		}
		return fail(err, "")
	}
	dict, ok := obj.(*pickleDict)
	if !ok {
		return fail(nil, "holds a %T instead of a dictionary of tensors", obj)
	}
	return dict, at, nil
}

// stored finds the tensor's elements in its storage, which is at byte `where`
// of the file. Row-major tensors stay where they are; others (transposed before
// saving) are copied into order, never more than the storage holds.
func (t *pickleTensor) stored(where int64, storage []byte) (Stored, error) {
	d, ok := torchStorages[t.storage.typ]
	if !ok {
		return Stored{}, fmt.Errorf("a storage of %s", string(t.storage.typ))
	}
	w := d.BlockSize()
	if have := len(storage) / w; t.storage.size > have {
		return Stored{}, fmt.Errorf("its storage is said to hold %d elements of %v and holds %d: truncated or damaged", t.storage.size, d, have)
	}
	n, err := tensor.Shape(t.shape).Elements()
	if err != nil {
		return Stored{}, err
	}
	s := Stored{DType: d, Shape: t.shape}
	if n == 0 {
		return s, nil
	}
	limit := t.storage.size
	if n > limit || t.offset > limit {
		return Stored{}, fmt.Errorf("shape %v at element %d doesn't fit its storage of %d elements", t.shape, t.offset, limit)
	}
	last, contiguous, step := t.offset, true, 1
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] > 1 {
			if t.stride[i] > limit || (t.shape[i]-1) > limit/max(t.stride[i], 1) {
				return Stored{}, fmt.Errorf("strides %v of shape %v leave its storage of %d elements", t.stride, t.shape, limit)
			}
			last += (t.shape[i] - 1) * t.stride[i]
			contiguous = contiguous && t.stride[i] == step
		}
		step *= t.shape[i]
	}
	if last >= limit {
		return Stored{}, fmt.Errorf("shape %v with strides %v at element %d ends beyond its storage of %d elements", t.shape, t.stride, t.offset, limit)
	}
	s.Offset = where + int64(t.offset*w)
	if contiguous {
		s.Data = storage[t.offset*w : (t.offset+n)*w : (t.offset+n)*w]
		return s, nil
	}
	s.Data = make([]byte, 0, n*w)
	index := make([]int, len(t.shape))
	for range n {
		at := t.offset
		for i, x := range index {
			at += x * t.stride[i]
		}
		s.Data = append(s.Data, storage[at*w:(at+1)*w]...)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < t.shape[i] {
				break
			}
			index[i] = 0
		}
	}
	return s, nil
}
