package split_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/split"
	"leolm/tensor"
)

// lonely is a rank whose group has failed.
type lonely struct{ rank, size int }

var errGone = errors.New("a rank is gone")

func (l lonely) Rank() int { return l.rank }
func (l lonely) Size() int { return l.size }

func (l lonely) GatherParts(context.Context, []float32, []int) error { return errGone }

// A rank reads its rows from the file and no others, and has memory for them only.
func TestARankReadsItsRowsOnly(t *testing.T) {
	inner, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	const rows, cols, ranks = 300, 16, 3
	layout := split.Layout{Rows: func(_ string, rows int) split.Cut { return split.Even(rows, ranks, 64) }}
	row := make([]byte, 4*cols)
	for i := range cols {
		binary.LittleEndian.PutUint32(row[4*i:], math.Float32bits(float32(i)))
	}
	last := 0
	for rank := range ranks {
		read := map[int]bool{}
		w, err := split.New(inner, lonely{rank, ranks}, layout).NewWeight(device.WeightSpec{
			Name: "w", DType: tensor.F32, Rows: rows, Cols: cols, Use: device.WeightUseMatmul,
			Row: func(i int) []byte { read[i] = true; return row },
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			if mine := i >= last && i < last+len(read); read[i] != mine {
				t.Errorf("rank %d read row %d: %v", rank, i, read[i])
			}
		}
		last += len(read)
		if most := 4 * cols * (len(read) + 32); w.Bytes() > most || w.Rows() != rows {
			t.Errorf("rank %d: a weight of %d rows in %d bytes, for %d rows at most %d", rank, w.Rows(), w.Bytes(), len(read), most)
		}
	}
	if last != rows {
		t.Errorf("%d of %d rows were read", last, rows)
	}
}

// Parts follow each other, cover everything, and begin at whole units.
func TestEvenParts(t *testing.T) {
	for _, c := range []struct{ n, ranks, unit int }{{8, 3, 1}, {1001, 4, 64}, {128, 2, 64}, {130, 2, 64}, {5, 5, 1}} {
		at := 0
		for r, s := range split.Even(c.n, c.ranks, c.unit) {
			if s.From != at || s.Len() < 1 || s.From%c.unit != 0 {
				t.Errorf("%v: part %d is %v", c, r, s)
			}
			at = s.To
		}
		if at != c.n {
			t.Errorf("%v: parts end at %d", c, at)
		}
	}
}

// A group that fails leaves its error with the device; nothing hangs or panics.
func TestAFailedGroup(t *testing.T) {
	inner, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	dev := split.New(inner, lonely{0, 2}, split.Layout{Rows: func(_ string, rows int) split.Cut { return split.Even(rows, 2, 1) }})
	w, err := dev.NewWeight(device.WeightSpec{
		Name: "w", DType: tensor.F32, Rows: 4, Cols: 1, Use: device.WeightUseMatmul, Row: func(int) []byte { return make([]byte, 4) },
	})
	if err != nil {
		t.Fatal(err)
	}
	x := dev.FromSlice(2, 1, []float32{1, 2})
	y := dev.Linear(x, w)
	dev.Read(y, make([]float32, 8))
	dev.Release(x, y)
	if !errors.Is(dev.Err(), errGone) {
		t.Errorf("the device says %v", dev.Err())
	}
	if n := dev.Memory().Tensors; n != 0 {
		t.Errorf("%d bytes of tensors leaked", n)
	}
}
