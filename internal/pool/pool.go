// Package pool owns the resident workers that share one operation's chunks.
//
// A forward pass is hundreds of operations of 20 µs to a few milliseconds
// each. Waking a goroutine per operation costs more than many of them take, so
// the workers stay: they spin with the processor's PAUSE for about 100 µs
// after their last chunk and then park. An operation is a task cut into
// chunks; whoever is free claims the next chunk, the caller too. Nobody waits
// for a worker that has claimed nothing, so a worker that the operating system
// keeps off its core costs only its share of the speed.
//
// The package does not decide how an operation is cut; results must not depend
// on which worker runs which chunk, or on how many workers there are.
package pool

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Task is one operation cut into chunks. Do runs chunk number chunk; it is
// called once for each chunk, from several goroutines at the same time. The
// worker number is below Workers() and, within one Run, no two calls at the
// same time share it: use it to choose scratch memory.
//
// A task should be a pointer, so that handing it over allocates nothing.
type Task interface{ Do(worker, chunk int) }

type funcTask func(worker, chunk int)

func (f funcTask) Do(worker, chunk int) { f(worker, chunk) }

// How long a worker spins before it parks, and the caller before it blocks.
// The caller's limit is shorter: it only waits for chunks in progress, and
// when those take long their worker has probably lost its core.
const (
	idleSpin = 100 * time.Microsecond
	minSpin  = 2 * time.Microsecond
	waitSpin = 50 * time.Microsecond
	// A gap this long between two looks at the clock means that the operating
	// system ran something else in between.
	stolen = 300 * time.Microsecond
	// Pauses between two looks at the work, and looks between two at the clock.
	pauses = 4
	looks  = 16
)

// Pool is a fixed number of workers, the caller included.
type Pool struct {
	workers int
	spin    time.Duration // idleSpin, or 0 where workers outnumber processors

	// ticket is generation<<32 | chunks not yet claimed. A claim is a
	// compare-and-swap that takes one off; the generation makes a claim of an
	// earlier operation fail. What the claim protects: task and chunks are
	// written before the ticket and stay until the last claimed chunk is done.
	ticket  atomic.Uint64
	_       [56]byte
	pending atomic.Int64 // chunks not yet done
	waiting atomic.Bool  // the caller blocks on done
	_       [48]byte
	task    Task
	chunks  int
	failure atomic.Pointer[failure] // first panic of the operation
	busy    atomic.Bool             // an operation is running
	parked  atomic.Int32            // workers asleep or about to be
	closed  atomic.Bool
	done    chan struct{}
	sleeper []sleeper
}

type sleeper struct {
	asleep atomic.Bool
	wake   chan struct{}
	_      [48]byte
}

type failure struct {
	value any
	stack []byte
}

func (f *failure) Error() string { return fmt.Sprintf("pool task: %v\n%s", f.value, f.stack) }

// Unwrap returns the panic's value if it was an error.
func (f *failure) Unwrap() error {
	err, _ := f.value.(error)
	return err
}

// New starts a pool of n workers: the caller of Run and n-1 goroutines, which
// cost nothing while parked. n below 1 counts as 1.
func New(n int) *Pool {
	n = max(n, 1)
	p := &Pool{workers: n, spin: idleSpin, done: make(chan struct{}, 1), sleeper: make([]sleeper, n)}
	if n > runtime.GOMAXPROCS(0) {
		p.spin = 0
	}
	for i := 1; i < n; i++ {
		p.sleeper[i].wake = make(chan struct{}, 1)
		go p.work(i)
	}
	return p
}

var standard = sync.OnceValue(func() *Pool { return New(Processors()) })

// Default is the pool of the process, with Processors() workers, started on
// first use.
func Default() *Pool { return standard() }

// Workers is the number of workers, the caller included.
func (p *Pool) Workers() int { return p.workers }

// Close ends the workers. Operations after Close run on the caller alone.
func (p *Pool) Close() {
	p.closed.Store(true)
	p.wakeAll()
}

// Run calls f for each chunk in [0, chunks), on all workers, and returns when
// the last call has returned. If a call panics, the chunks not yet started are
// dropped and Run panics with the same value wrapped in an error that holds the
// stack. A Run inside a task, or while another goroutine's Run is under way,
// runs on its own goroutine alone.
func (p *Pool) Run(chunks int, f func(worker, chunk int)) { p.Do(chunks, funcTask(f)) }

// Do is Run for a Task; it allocates nothing.
func (p *Pool) Do(chunks int, t Task) {
	if chunks <= 0 {
		return
	}
	if chunks == 1 || p.workers == 1 || chunks > 1<<31 || !p.busy.CompareAndSwap(false, true) {
		for c := range chunks {
			t.Do(0, c)
		}
		return
	}
	p.task, p.chunks = t, chunks
	p.pending.Store(int64(chunks))
	generation := p.ticket.Load()>>32 + 1
	p.ticket.Store(generation<<32 | uint64(chunks))
	if p.parked.Load() > 0 {
		p.wakeAll()
	}
	for !p.drain(0) {
	}
	p.wait()
	p.task = nil
	f := p.failure.Swap(nil)
	p.busy.Store(false)
	if f != nil {
		panic(f)
	}
}

// claim takes one chunk of the current operation.
func (p *Pool) claim() (int, bool) {
	for {
		t := p.ticket.Load()
		left := uint32(t)
		if left == 0 {
			return 0, false
		}
		if p.ticket.CompareAndSwap(t, t-1) {
			return p.chunks - int(left), true
		}
	}
}

// drain runs chunks until none is left to claim. It returns false if a chunk
// panicked and there may be more.
func (p *Pool) drain(worker int) (finished bool) {
	chunk, ok := p.claim()
	if !ok {
		return true
	}
	defer func() {
		if finished {
			return
		}
		// The chunk at hand ended in a panic or runtime.Goexit.
		v := recover()
		if v == nil {
			v = "the task ended its goroutine"
		}
		p.failure.CompareAndSwap(nil, &failure{v, debug.Stack()})
		for {
			if _, ok := p.claim(); !ok {
				break
			}
			p.pending.Add(-1)
		}
		p.finish()
	}()
	for ok {
		p.task.Do(worker, chunk)
		p.finish()
		chunk, ok = p.claim()
	}
	return true
}

// finish marks one chunk as done and wakes the caller after the last one. The
// wake may reach the caller of a later operation, which looks again.
func (p *Pool) finish() {
	if p.pending.Add(-1) == 0 && p.waiting.CompareAndSwap(true, false) {
		p.done <- struct{}{}
	}
}

// wait returns when every claimed chunk is done.
func (p *Pool) wait() {
	if p.pending.Load() == 0 {
		return
	}
	if p.spin > 0 {
		var s spinner
		for s.next(waitSpin) {
			if p.pending.Load() == 0 {
				return
			}
		}
	}
	for p.pending.Load() != 0 {
		p.waiting.Store(true)
		if p.pending.Load() == 0 && p.waiting.CompareAndSwap(true, false) {
			return
		}
		<-p.done
	}
}

func (p *Pool) work(worker int) {
	// Weights lie in mapped files: a page that its file has lost is a panic, which
	// drain hands to the caller, as the caller's own goroutine is set up to have it.
	debug.SetPanicOnFault(true)
	defer func() {
		if !p.closed.Load() { // a task called runtime.Goexit
			go p.work(worker)
		}
	}()
	me := &p.sleeper[worker]
	budget := p.spin
	for !p.closed.Load() {
		found := false
		for s := (spinner{}); s.next(budget); {
			if uint32(p.ticket.Load()) != 0 {
				found = true
				break
			}
			if s.stolen {
				// The cores are shared: sleeping keeps our claim on the next
				// time slice, spinning would spend it.
				budget = minSpin
			}
		}
		if !found {
			p.parked.Add(1)
			me.asleep.Store(true)
			if uint32(p.ticket.Load()) == 0 && !p.closed.Load() || !me.asleep.CompareAndSwap(true, false) {
				<-me.wake
			}
			p.parked.Add(-1)
		} else if budget < p.spin {
			budget = min(2*budget, p.spin)
		}
		for !p.drain(worker) {
		}
	}
}

func (p *Pool) wakeAll() {
	for i := 1; i < p.workers; i++ {
		s := &p.sleeper[i]
		if s.asleep.Load() && s.asleep.CompareAndSwap(true, false) {
			s.wake <- struct{}{}
		}
	}
}

// spinner bounds a busy wait by time.
type spinner struct {
	start, last time.Time
	n           int
	stolen      bool // the goroutine was off its core meanwhile
}

// next pauses for a moment; it returns false once limit has passed since the
// first call.
func (s *spinner) next(limit time.Duration) bool {
	pause(pauses)
	s.n++
	if s.n%looks != 1 {
		return limit > 0
	}
	now := time.Now()
	if s.n == 1 {
		s.start, s.last = now, now
		return limit > 0
	}
	s.stolen = s.stolen || now.Sub(s.last) > stolen
	s.last = now
	return now.Sub(s.start) < limit
}
