// Package cluster joins processes to one training run: who this process is (Detect), the group it is in (Open), and
// what the group does together.
//
// It owns: ranks as launchers announce them; collectives over a group (AllReduce, ReduceScatter, AllGather, Broadcast,
// Barrier, Split, Gather, Agree), the order and the rounding of their sums; the watch over the other ranks; the binding
// to MPI libraries. It does not own what is reduced or when, the network (MPI's), the start of processes (the
// launcher's), or devices: buffers are memory of the processor.
//
// # Sums
//
// A sum is taken in the order of ranks, by one owner. float32 and bf16 are added in float64 and rounded once, at the
// end, to nearest even; float64 has nothing wider, and is rounded at each addition. The result depends on the values
// and their ranks only: not on the back end, the algorithm, the length of the slice or how it is cut into pieces.
//
// # Order of calls
//
// Every rank makes the same calls in the same order, over all the groups it is in. Before data moves, the ranks of a
// group compare what they were asked for; a difference is a [*MismatchError] on all of them, not a hang. Calls run one
// after another in a goroutine of their own; [Work.Wait] says that one is done, and until then its buffers belong to
// it.
//
// # Death
//
// Ranks listen to each other all the time. When one has been silent for Options.Silence, or has called Abort, all calls
// of the others fail with a [*DeadError] or an [*AbortError], Options.Lost is told, and the process ends.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"
)

// Number is what collectives compute with. A uint16 holds a bf16, as in package tensor.
type Number interface{ float32 | float64 | uint16 }

// Op is how elements are combined.
type Op uint8

const (
	// Sum adds in the order of ranks.
	Sum Op = iota
	// Max takes the largest; a NaN on any rank wins.
	Max
)

func (o Op) String() string {
	switch o {
	case Sum:
		return "sum"
	case Max:
		return "max"
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// closeGrace is how long a library may take to end when all ranks have come to the end.
const closeGrace = 3 * time.Second

// ErrClosed is what calls on a group return after Close.
var ErrClosed = errors.New("cluster: the group is closed")

// Comm is a group of ranks. Its methods, and the functions that take it, may be called from one goroutine at a time.
type Comm struct {
	engine *engine
	t      transport
	rank   int
	size   int
	seats  []Seat // of the members, by rank

	calls uint64 // meetings so far; the engine's
	stage *stage // the engine's
}

// Rank is this process's number in the group, from 0.
func (c *Comm) Rank() int { return c.rank }

// Size is the number of ranks.
func (c *Comm) Size() int { return c.size }

// Seats says where the ranks of the group run.
func (c *Comm) Seats() []Seat { return c.seats }

// Backend names what moves the bytes, such as "local" or the version of the MPI library.
func (c *Comm) Backend() string { return c.engine.backend }

// Work is a collective that was started.
type Work struct {
	done chan struct{}
	err  error
}

// Wait returns when the collective is done on this rank, or when ctx ends. In the second case it goes on, and its
// buffers must not be touched until Done is closed.
func (w *Work) Wait(ctx context.Context) error {
	select {
	case <-w.done:
		return w.err
	default:
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Done is closed when the collective is over.
func (w *Work) Done() <-chan struct{} { return w.done }

// engine runs the collectives of a process, one after another, in one goroutine.
type engine struct {
	backend string
	life    life
	faults  Faults
	opts    Options

	tasks chan task
	gone  chan struct{} // closed when the goroutine has ended

	over bool // life was told; the goroutine's

	mu     sync.Mutex
	err    error // the first failure, which all later calls return
	closed bool
}

type task struct {
	run  func() error
	work *Work
}

// life is what a back end does for the whole process. All methods but abort are called by the engine's goroutine.
type life interface {
	// tick tells the others that this rank is alive and looks after them.
	tick() error
	// abort ends all ranks because of err, and does not return where a rank is a process. Any goroutine may call it.
	abort(err error)
	// diagnose finds out which rank's death is behind an error, if one is.
	diagnose(err error) error
	// seated is told where the ranks run.
	seated(seats []Seat)
	// waits is told that this rank has come to a call and waits for the others; nil that they are there.
	waits(in *call)
	// lost is told that the run is over, because another rank is.
	lost(err error)
	// close leaves; all ranks call it.
	close() error
}

// transport moves bytes within a group. It is called by the engine's goroutine.
type transport interface {
	// gather collects a block of the same length from every rank: dst has one for each. It may wait for long.
	gather(dst, src []byte) error
	// exchange begins to move send[p] to rank p, where it fills recv of this rank; both are memory of this transport.
	// Own parts do not move. Every rank begins its exchanges in the same order.
	exchange(send, recv [][]byte) (pending, error)
	// broadcast fills buf, memory of this transport, with the root's.
	broadcast(root int, buf []byte) error
	// split makes a group of the ranks that give the same color, ordered by key and rank.
	split(color, key int) (transport, error)
	// memory is what exchange and broadcast may be given. It is aligned for any Number.
	memory(bytes int) ([]byte, error)
}

// pending is an exchange that has begun.
type pending interface{ wait() error }

func newEngine(l life, backend string, faults Faults, o Options) *engine {
	return &engine{backend: backend, life: l, faults: faults, opts: o, tasks: make(chan task, 1024), gone: make(chan struct{})}
}

// loop runs tasks until the last one says so.
func (e *engine) loop() {
	defer close(e.gone)
	beat := time.NewTicker(beatEvery / 2)
	defer beat.Stop()
	for {
		select {
		case t := <-e.tasks:
			if t.run == nil {
				close(t.work.done)
				return
			}
			err := e.failure()
			if err == nil {
				if err = t.run(); err != nil {
					err = e.keep(err)
				}
			}
			t.work.err = err
			close(t.work.done)
			e.mourn()
		case <-beat.C:
			// Also after an error that ends no rank: it may have long to go.
			if e.over {
				continue
			}
			if err := e.life.tick(); err != nil {
				e.keep(err)
				e.mourn()
			}
		}
	}
}

// failure is the error that all calls return from now on.
func (e *engine) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// keep remembers the first error, and returns it. A death is worse than what came before it.
func (e *engine) keep(err error) error {
	err = e.life.diagnose(err)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil || endsRun(err) && !endsRun(e.err) {
		e.err = err
	}
	return e.err
}

// mourn tells life once that the run is over.
func (e *engine) mourn() {
	if err := e.failure(); !e.over && endsRun(err) {
		e.over = true
		e.life.lost(err)
	}
}

// endsRun reports whether an error is the end of a rank.
func endsRun(err error) bool {
	var dead *DeadError
	var abort *AbortError
	return errors.As(err, &dead) || errors.As(err, &abort)
}

// start hands a call to the engine.
func (c *Comm) start(run func() error) *Work {
	w := &Work{done: make(chan struct{})}
	e := c.engine
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	if closed {
		w.err = ErrClosed
		close(w.done)
		return w
	}
	e.tasks <- task{run, w}
	return w
}

// refuse is a call with wrong arguments.
func refuse(format string, args ...any) *Work {
	w := &Work{done: make(chan struct{}), err: fmt.Errorf("cluster: "+format, args...)}
	close(w.done)
	return w
}

// Barrier returns when all ranks have called it.
func (c *Comm) Barrier(ctx context.Context) error {
	return c.start(func() error {
		_, err := c.meet(call{op: opBarrier})
		return err
	}).Wait(ctx)
}

// Gather collects a value of any length from every rank: all ranks get all, by rank.
func (c *Comm) Gather(ctx context.Context, value []byte) ([][]byte, error) {
	var all [][]byte
	err := c.start(func() error {
		lengths, err := c.meet(call{op: opGather, count: uint64(len(value))})
		if err != nil {
			return err
		}
		all, err = c.gatherBytes(value, lengths)
		return err
	}).Wait(ctx)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// maxGather bounds the memory of Gather and Share, in bytes on every rank.
const maxGather = 1 << 30

// gatherBytes gathers values whose lengths are known.
func (c *Comm) gatherBytes(value []byte, lengths []call) ([][]byte, error) {
	longest := uint64(0)
	for _, l := range lengths {
		longest = max(longest, l.count)
	}
	if longest > maxGather/uint64(c.size) {
		return nil, fmt.Errorf("cluster: a value of %d bytes from each of %d ranks: more than %d bytes together", longest, c.size, maxGather)
	}
	block := make([]byte, longest)
	copy(block, value)
	dst := make([]byte, longest*uint64(c.size))
	if longest > 0 {
		if err := c.t.gather(dst, block); err != nil {
			return nil, err
		}
	}
	all := make([][]byte, c.size)
	for r := range all {
		from := uint64(r) * longest
		all[r] = dst[from : from+lengths[r].count : from+lengths[r].count]
	}
	return all, nil
}

// Share gives the root's value to all ranks. Other ranks' values are not looked at.
func (c *Comm) Share(ctx context.Context, root int, value []byte) ([]byte, error) {
	if root < 0 || root >= c.size {
		return nil, fmt.Errorf("cluster: root %d in a group of %d", root, c.size)
	}
	if c.rank != root {
		value = nil
	}
	var got []byte
	err := c.start(func() error {
		lengths, err := c.meet(call{op: opShare, root: uint32(root), count: uint64(len(value))})
		if err != nil {
			return err
		}
		if lengths[root].count > maxGather {
			return fmt.Errorf("cluster: a value of %d bytes is more than %d", lengths[root].count, maxGather)
		}
		got = make([]byte, lengths[root].count)
		copy(got, value)
		return c.broadcast(root, got)
	}).Wait(ctx)
	if err != nil {
		return nil, err
	}
	return got, nil
}

// Split makes groups of the ranks that give the same color; within one, ranks are ordered by key, then by their rank
// here. A negative color gives no group: nil. Splits are collective, and use the parent's engine.
func (c *Comm) Split(ctx context.Context, color, key int) (*Comm, error) {
	var child *Comm
	err := c.start(func() error {
		if _, err := c.meet(call{op: opSplit}); err != nil {
			return err
		}
		var mine [16]byte
		putInts(mine[:], color, key)
		all := make([]byte, len(mine)*c.size)
		if err := c.t.gather(all, mine[:]); err != nil {
			return err
		}
		members := membersOf(all, c.size, color)
		t, err := c.t.split(color, key)
		if err != nil || color < 0 {
			return err
		}
		child = &Comm{engine: c.engine, t: t, size: len(members)}
		for r, m := range members {
			if m == c.rank {
				child.rank = r
			}
			child.seats = append(child.seats, c.seats[m])
		}
		return nil
	}).Wait(ctx)
	return child, err
}

// Abort ends all ranks because of err, with a message that names this rank. Where ranks are processes it does not
// return.
func (c *Comm) Abort(err error) { c.engine.life.abort(err) }

// Close leaves the cluster; all ranks must call it on the group that Open returned, after their last call. It fails
// with what an earlier call failed with.
//
// Once all have called it, the library has closeGrace to end: that of some waits for ever for a rank that has done so.
func (c *Comm) Close(ctx context.Context) error {
	met := make(chan struct{})
	w := c.start(func() error {
		if _, err := c.meet(call{op: opClose}); err != nil {
			return err
		}
		close(met)
		return c.engine.life.close()
	})
	var late <-chan time.Time
	var err error
wait:
	for {
		select {
		case <-w.done:
			err = w.err
			break wait
		case <-ctx.Done():
			err = context.Cause(ctx)
			break wait
		case <-met:
			met, late = nil, time.After(cmp.Or(c.engine.opts.closing, closeGrace))
		case <-late:
			c.engine.opts.detail("%s does not end; all ranks had come to the end, and leave without it", c.engine.backend)
			c.engine.shut()
			return nil
		}
	}
	e := c.engine
	if e.shut() {
		return err
	}
	last := &Work{done: make(chan struct{})}
	e.tasks <- task{nil, last}
	return errors.Join(err, last.Wait(ctx))
}

// shut refuses further calls; it says whether they had been refused before.
func (e *engine) shut() (before bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, e.closed = e.closed, true
	return before
}

// bytesOf looks at numbers as bytes.
func bytesOf[T Number | byte](s []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(t)))
}

// numbersOf looks at aligned bytes as numbers.
func numbersOf[T Number](b []byte) []T {
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}
