package split_test

import (
	"context"
	"fmt"
	"log"
	"sync"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/device/split"
	"leolm/tensor"
)

// table is where the ranks of a process exchange what they have.
type table struct {
	mu     sync.Mutex
	full   *sync.Cond
	values []float32
	laid   int
}

// seat is a rank's place at it, for one exchange.
type seat struct {
	*table
	rank int
}

func (s seat) Rank() int { return s.rank }
func (s seat) Size() int { return 2 }

func (s seat) GatherParts(_ context.Context, values []float32, parts []int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(s.values[parts[s.rank]:], values[parts[s.rank]:parts[s.rank+1]])
	s.laid++
	s.full.Broadcast()
	for s.laid < s.Size() {
		s.full.Wait()
	}
	copy(values, s.values)
	return nil
}

// Two ranks have a row of a matrix each; both get the whole product.
func Example() {
	t := &table{values: make([]float32, 2)}
	t.full = sync.NewCond(&t.mu)
	rows := [][]byte{ // bf16: 1, 2 and 0.5, -1
		{0x80, 0x3f, 0x00, 0x40},
		{0x00, 0x3f, 0x80, 0xbf},
	}
	layout := split.Layout{Rows: func(_ string, rows int) split.Cut { return split.Even(rows, 2, 1) }}
	out := make([][]float32, 2)
	var ranks sync.WaitGroup
	for rank := range 2 {
		ranks.Go(func() {
			inner, err := cpu.New(cpu.Options{Threads: 1})
			if err != nil {
				log.Fatal(err)
			}
			defer inner.Close()
			dev := split.New(inner, seat{t, rank}, layout)
			w, err := dev.NewWeight(device.WeightSpec{
				Name: "proj.weight", DType: tensor.BF16, Rows: 2, Cols: 2, Use: device.WeightUseMatmul,
				Row: func(i int) []byte { return rows[i] },
			})
			if err != nil {
				log.Fatal(err)
			}
			x := dev.FromSlice(1, 2, []float32{3, 4})
			y := dev.Linear(x, w)
			out[rank] = make([]float32, 2)
			dev.Read(y, out[rank])
			dev.Release(x, y)
		})
	}
	ranks.Wait()
	fmt.Println(out[0], out[1])
	// Output: [11 -2.5] [11 -2.5]
}
