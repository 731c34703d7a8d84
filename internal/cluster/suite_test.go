package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"leolm/tensor"
)

// scenarios run on every back end and size: each rank calls the function with its group.
var scenarios = []struct {
	name string
	run  func(ctx context.Context, c *Comm) error
}{
	{"all-reduce of float32", func(ctx context.Context, c *Comm) error { return checkAllReduce(ctx, c, float32Value) }},
	{"all-reduce of float64", func(ctx context.Context, c *Comm) error { return checkAllReduce(ctx, c, float64Value) }},
	{"all-reduce of bf16", func(ctx context.Context, c *Comm) error { return checkAllReduce(ctx, c, bf16Value) }},
	{"reduce-scatter and all-gather", checkScatterGather},
	{"lists", checkLists},
	{"largest", checkMax},
	{"not finite", checkNotFinite},
	{"broadcast", checkBroadcast},
	{"gather and share", checkGather},
	{"agree", checkAgree},
	{"split", checkSplit},
	{"several at once", checkAsync},
	{"barrier", checkBarrier},
	{"refused arguments", checkRefused},
}

// value is what a rank has at an index: the same function on all ranks, so that each can compute what all have.
func value(rank, i int) float64 {
	h := uint64(rank*1000003+i)*0x9e3779b97f4a7c15 + 1
	h = (h ^ h>>29) * 0xbf58476d1ce4e5b9
	h ^= h >> 32
	return math.Float64frombits(h&^(0x7ff<<52) | (1023-30+h>>52%60)<<52)
}

func float32Value(rank, i int) float32 { return float32(value(rank, i)) }
func float64Value(rank, i int) float64 { return value(rank, i) }
func bf16Value(rank, i int) uint16     { return tensor.F32ToBF16(float32(value(rank, i))) }

// wide and narrow are written apart from combine: they say what the sum must be.
func wide[T Number](x T) float64 {
	if h, ok := any(x).(uint16); ok {
		return float64(tensor.BF16ToF32(h))
	}
	return float64(x)
}

func narrow[T Number](x float64) T {
	var t T
	switch p := any(&t).(type) {
	case *float32:
		*p = float32(x)
	case *float64:
		*p = x
	case *uint16:
		*p = nearestBF16(x)
	}
	return t
}

// nearestBF16 tries both neighbors.
func nearestBF16(x float64) uint16 {
	low := uint16(math.Float32bits(float32(x)) >> 16)
	best, bestDist := uint16(0), math.Inf(1)
	for _, h := range []uint16{low - 1, low, low + 1} {
		y := float64(tensor.BF16ToF32(h))
		d := math.Abs(y - x)
		if math.IsNaN(d) {
			continue
		}
		if d < bestDist || d == bestDist && h&1 == 0 {
			best, bestDist = h, d
		}
	}
	return best
}

// sequential is the sum of all ranks in their order, rounded once.
func sequential[T Number](size, i int, of func(rank, i int) T) T {
	sum := wide(of(0, i))
	for r := 1; r < size; r++ {
		sum += wide(of(r, i))
	}
	return narrow[T](sum)
}

func filled[T any](n int, f func(i int) T) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = f(i)
	}
	return s
}

// lengths of buffers: none, one, odd ones, around the borders of small calls and pieces, and several windows.
var lengths = []int{0, 1, 2, 3, 7, 255, 256, 257, 1023, 1025, 4097, 70001}

func checkAllReduce[T Number](ctx context.Context, c *Comm, of func(rank, i int) T) error {
	for _, n := range lengths {
		buf := filled(n, func(i int) T { return of(c.Rank(), i) })
		if err := AllReduce(c, Sum, buf).Wait(ctx); err != nil {
			return err
		}
		for i, got := range buf {
			if want := sequential(c.Size(), i, of); c.Size() > 1 && !bytes.Equal(bytesOf([]T{got}), bytesOf([]T{want})) {
				return fmt.Errorf("element %d of %d is %v, want %v", i, n, got, want)
			}
		}
	}
	return nil
}

// partings are ways to cut n elements.
func partings(n, size int) []Parts {
	last := make(Parts, size+1) // all to the last rank
	last[size] = n
	first := make(Parts, size+1) // all to the first
	for r := range size {
		first[r+1] = n
	}
	uneven := make(Parts, size+1)
	for r := range size {
		uneven[r+1] = n * (r + 1) * (r + 1) / (size * size)
	}
	return []Parts{nil, Even(n, size), last, first, uneven}
}

func checkScatterGather(ctx context.Context, c *Comm) error {
	for _, n := range lengths {
		for k, parts := range partings(n, c.Size()) {
			src := filled(n, func(i int) float32 { return float32Value(c.Rank(), i) })
			before := slices.Clone(src)
			even := parts
			if even == nil {
				even = Even(n, c.Size())
			}
			from, to := even.Of(c.Rank())
			dst := make([]float32, to-from)
			if k%2 == 1 {
				dst = src[from:to]
			}
			if err := ReduceScatter(c, Sum, dst, src, parts).Wait(ctx); err != nil {
				return err
			}
			for i, got := range dst {
				if want := sequential(c.Size(), from+i, float32Value); got != want {
					return fmt.Errorf("%d elements, parts %v: element %d is %v, want %v", n, parts, from+i, got, want)
				}
			}
			if !slices.Equal(src[:from], before[:from]) || !slices.Equal(src[to:], before[to:]) {
				return fmt.Errorf("%d elements, parts %v: the other ranks' parts of src changed", n, parts)
			}
			all := make([]float32, n)
			if k%2 == 1 {
				copy(all[from:], dst)
				dst = all[from:to]
			}
			if err := AllGather(c, all, dst, parts).Wait(ctx); err != nil {
				return err
			}
			for i, got := range all {
				if want := sequential(c.Size(), i, float32Value); got != want {
					return fmt.Errorf("%d elements, parts %v, gathered: element %d is %v, want %v", n, parts, i, got, want)
				}
			}
		}
	}
	return nil
}

func checkMax(ctx context.Context, c *Comm) error {
	for _, n := range []int{1, 3000} {
		buf := filled(n, func(i int) float64 { return value(c.Rank(), i) })
		if err := AllReduce(c, Max, buf).Wait(ctx); err != nil {
			return err
		}
		for i, got := range buf {
			want := value(0, i)
			for r := range c.Size() {
				want = max(want, value(r, i))
			}
			if got != want {
				return fmt.Errorf("element %d is %v, want %v", i, got, want)
			}
		}
	}
	return nil
}

func checkNotFinite(ctx context.Context, c *Comm) error {
	last := c.Rank() == c.Size()-1
	for _, n := range []int{4, 5000} {
		buf := make([]float32, n)
		if last {
			buf[0], buf[1], buf[n-1] = float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))
		}
		highest := slices.Clone(buf)
		if c.Rank() == 0 {
			buf[1], highest[0] = float32(math.Inf(-1)), float32(math.Inf(1))
		}
		if err := AllReduce(c, Sum, buf).Wait(ctx); err != nil {
			return err
		}
		if err := AllReduce(c, Max, highest).Wait(ctx); err != nil {
			return err
		}
		if c.Size() == 1 {
			continue
		}
		isNaN := func(x float32) bool { return x != x }
		if !isNaN(buf[0]) || !isNaN(buf[1]) || !math.IsInf(float64(buf[n-1]), -1) || buf[2] != 0 {
			return fmt.Errorf("sums %v %v %v … %v", buf[0], buf[1], buf[2], buf[n-1])
		}
		if !isNaN(highest[0]) || !math.IsInf(float64(highest[1]), 1) || highest[n-1] != 0 {
			return fmt.Errorf("largest %v %v … %v", highest[0], highest[1], highest[n-1])
		}
	}
	return nil
}

func checkBroadcast(ctx context.Context, c *Comm) error {
	for root := range c.Size() {
		for _, n := range lengths {
			buf := make([]float32, n)
			if c.Rank() == root {
				buf = filled(n, func(i int) float32 { return float32Value(root, i) })
			}
			if err := Broadcast(c, root, buf).Wait(ctx); err != nil {
				return err
			}
			for i, got := range buf {
				if want := float32Value(root, i); got != want {
					return fmt.Errorf("from %d: element %d of %d is %v, want %v", root, i, n, got, want)
				}
			}
		}
		text := []byte(fmt.Sprintf("from %d", root))
		got := slices.Clone(text)
		if c.Rank() != root {
			clear(got)
		}
		if err := Broadcast(c, root, got).Wait(ctx); err != nil || !bytes.Equal(got, text) {
			return fmt.Errorf("got %q, %w", got, err)
		}
	}
	return nil
}

func checkGather(ctx context.Context, c *Comm) error {
	for _, unit := range []int{0, 1, 100, 70000} {
		mine := bytes.Repeat([]byte{byte('a' + c.Rank())}, unit*c.Rank())
		all, err := c.Gather(ctx, mine)
		if err != nil {
			return err
		}
		for r, got := range all {
			if want := bytes.Repeat([]byte{byte('a' + r)}, unit*r); !bytes.Equal(got, want) {
				return fmt.Errorf("%d bytes of rank %d, want %d", len(got), r, len(want))
			}
		}
		got, err := c.Share(ctx, c.Size()-1, mine)
		if err != nil {
			return err
		}
		if want := bytes.Repeat([]byte{byte('a' + c.Size() - 1)}, unit*(c.Size()-1)); !bytes.Equal(got, want) {
			return fmt.Errorf("%d bytes shared, want %d", len(got), len(want))
		}
	}
	return nil
}

func checkAgree(ctx context.Context, c *Comm) error {
	if err := c.Agree(ctx, Fact{"recipe", "abc"}, Fact{"data", ""}); err != nil {
		return err
	}
	last := "same"
	if c.Rank() == c.Size()-1 && c.Rank() > 0 {
		last = "other"
	}
	err := c.Agree(ctx, Fact{"recipe", last}, Fact{"data", "d"}, Fact{"level", last})
	if c.Size() == 1 {
		return err
	}
	want := []Difference{
		{"recipe", [2]int{0, c.Size() - 1}, [2]string{"same", "other"}},
		{"level", [2]int{0, c.Size() - 1}, [2]string{"same", "other"}},
	}
	var differ *DisagreeError
	if !errors.As(err, &differ) || !slices.Equal(differ.Differences, want) {
		return fmt.Errorf("got %v, want %v", err, want)
	}
	return nil
}

// checkSplit sums in groups of odd and even ranks, in reverse order, and in both at once.
func checkSplit(ctx context.Context, c *Comm) error {
	half, err := c.Split(ctx, c.Rank()%2, -c.Rank())
	if err != nil {
		return err
	}
	members := []int{}
	for r := c.Size() - 1; r >= 0; r-- {
		if r%2 == c.Rank()%2 {
			members = append(members, r)
		}
	}
	if half.Size() != len(members) || members[half.Rank()] != c.Rank() {
		return fmt.Errorf("rank %d of %d in the half of %d", half.Rank(), half.Size(), c.Rank())
	}
	const n = 3000
	buf := filled(n, func(i int) float32 { return float32Value(c.Rank(), i) })
	if err := AllReduce(half, Sum, buf).Wait(ctx); err != nil {
		return err
	}
	for i, got := range buf {
		want := sequential(len(members), i, func(r, i int) float32 { return float32Value(members[r], i) })
		if got != want {
			return fmt.Errorf("element %d of the half is %v, want %v", i, got, want)
		}
	}
	if err := AllReduce(c, Sum, buf).Wait(ctx); err != nil {
		return err
	}
	color := -1
	if c.Rank() == 0 {
		color = 3
	}
	one, err := c.Split(ctx, color, 0)
	if err != nil {
		return err
	}
	if (one != nil) != (c.Rank() == 0) || one != nil && one.Size() != 1 {
		return fmt.Errorf("a group of rank 0 alone: %v", one)
	}
	if one != nil {
		return one.Barrier(ctx)
	}
	return nil
}

// checkAsync starts many calls before it waits, as a backward pass does.
func checkAsync(ctx context.Context, c *Comm) error {
	const layers, n = 20, 5001
	var works []*Work
	grads := make([][]float32, layers)
	for l := range grads {
		grads[l] = filled(n, func(i int) float32 { return float32Value(c.Rank(), i+l) })
		works = append(works, AllReduce(c, Sum, grads[l]))
	}
	for l := layers - 1; l >= 0; l-- {
		if err := works[l].Wait(ctx); err != nil {
			return err
		}
		for i, got := range grads[l] {
			if want := sequential(c.Size(), i+l, float32Value); got != want {
				return fmt.Errorf("layer %d, element %d is %v, want %v", l, i, got, want)
			}
		}
	}
	return nil
}

// checkBarrier sees that no rank leaves before the last one has come.
func checkBarrier(ctx context.Context, c *Comm) error {
	if c.Rank() == c.Size()-1 {
		time.Sleep(30 * time.Millisecond)
	}
	came := time.Now().UnixNano()
	if err := c.Barrier(ctx); err != nil {
		return err
	}
	left := time.Now().UnixNano()
	var mine [16]byte
	putInts(mine[:], int(came), int(left))
	all, err := c.Gather(ctx, mine[:])
	if err != nil {
		return err
	}
	for r, a := range all {
		for s, b := range all {
			if getInt(a[8:]) < getInt(b) {
				return fmt.Errorf("rank %d left before rank %d came", r, s)
			}
		}
	}
	return nil
}

func checkRefused(ctx context.Context, c *Comm) error {
	buf := make([]float32, 10)
	size := c.Size()
	bad := make(Parts, size+1) // ends at 0
	for _, r := range []struct {
		work *Work
		want string
	}{
		{AllReduce(c, 7, buf), "unknown op 7"},
		{ReduceScatter(c, 7, buf, buf, nil), "unknown op 7"},
		{ReduceScatter(c, Sum, buf[:3], buf, bad), "parts from 0 to 0 of 10 elements"},
		{ReduceScatter(c, Sum, make([]float32, 11), buf, nil), "11 elements for a part of"},
		{AllGather(c, buf, make([]float32, 11), nil), "11 elements for a part of"},
		{AllGather(c, buf, buf, Parts{0, 1, 2, 3, 4, 5, 6, 10}), "7 parts for"},
		{Broadcast(c, size, buf), "root"},
		{Broadcast(c, -1, buf), "root -1"},
	} {
		if err := r.work.Wait(ctx); err == nil || !strings.Contains(err.Error(), r.want) {
			return fmt.Errorf("got %v, want %q", err, r.want)
		}
	}
	if _, err := c.Share(ctx, size, nil); err == nil {
		return errors.New("a root that is none was taken")
	}
	return c.Barrier(ctx) // nothing of this has harmed the group
}
