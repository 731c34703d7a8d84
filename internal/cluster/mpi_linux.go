//go:build linux && !nodl && (amd64 || arm64)

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"
)

// mpiWorld is this process in MPI. Everything but abort runs on the engine's thread, which is the one that called
// MPI_Init_thread: the library needs no more than MPI_THREAD_FUNNELED.
type mpiWorld struct {
	*mpiLib
	opts       Options
	rank, size int
	seats      []Seat

	cells memory // requests and other small things that the library writes to
	code  cell   // of one int or handle

	links    []*link
	control  uintptr // the communicator of signs of life
	lastTick time.Time
	leaving  bool

	waiting   *call // the call in which this rank waits for others; nil if it does not
	waitSince time.Time
	last      string    // its last call
	awaySince time.Time // the end of its last call, if it does not

	aborting atomic.Pointer[AbortError] // asked for by abort
	once     sync.Once                  // the end
}

// memory is mmap'ed and handed out bit by bit. It stays until the process ends: libraries may have registered it.
type memory struct{ rest []byte }

// cell is a piece of such memory.
type cell []byte

func (c cell) addr() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(c))) }
func (c cell) int() int      { return int(*(*int32)(unsafe.Pointer(unsafe.SliceData(c)))) }
func (c cell) word() uintptr { return *(*uintptr)(unsafe.Pointer(unsafe.SliceData(c))) }
func (c cell) clear()        { clear(c) }

// take returns n bytes, aligned for anything.
func (m *memory) take(n int) (cell, error) {
	n = (n + 63) &^ 63
	if n > len(m.rest) {
		size := max(n, 64<<10)
		b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return nil, fmt.Errorf("cluster: %d bytes of memory: %w", size, err)
		}
		m.rest = b
	}
	b := m.rest[:n:n]
	m.rest = m.rest[n:]
	return cell(b), nil
}

// openMPI starts MPI in the engine's goroutine, which keeps its thread for good.
func openMPI(ctx context.Context, w World, o Options) (*Comm, error) {
	type started struct {
		c   *Comm
		err error
	}
	ready := make(chan started, 1)
	go func() {
		runtime.LockOSThread()
		c, err := startMPI(w, o)
		ready <- started{c, err}
		if err == nil {
			c.engine.loop()
		}
		// The thread stays locked: it ends with the goroutine, and MPI's state of it with the process.
	}()
	select {
	case s := <-ready:
		return s.c, s.err
	case <-ctx.Done():
		return nil, fmt.Errorf("cluster: MPI has not started: %w", context.Cause(ctx))
	}
}

// mpiStarted guards against a second start: MPI can be initialized once in a process.
var mpiStarted atomic.Bool

// startMPI initializes the library and joins the group of all ranks.
func startMPI(w World, o Options) (*Comm, error) {
	if !mpiStarted.CompareAndSwap(false, true) {
		return nil, errors.New("cluster: MPI has been started in this process before")
	}
	if err := quietLibraries(); err != nil {
		return nil, err
	}
	before := readSignals()
	var cpus unix.CPUSet
	affinity := unix.SchedGetaffinity(0, &cpus)
	lib, err := loadMPI(mpiNames(w, o, os.Getenv))
	if err != nil {
		return nil, err
	}
	m := &mpiWorld{mpiLib: lib, opts: o, lastTick: time.Now()}
	if m.code, err = m.cells.take(8); err != nil {
		return nil, err
	}
	if err := m.initialize(); err != nil {
		return nil, err
	}
	taken, err := restoreSignals(&before)
	if err != nil {
		return nil, fmt.Errorf("cluster: %s keeps signals of the program: %w", lib.version, err)
	}
	if len(taken) > 0 {
		o.detail("%s took signals %v; they were given back", lib.version, taken)
	}
	// Some launchers leave it to the library to bind the process, and it binds this one thread.
	if affinity == nil {
		_ = unix.SchedSetaffinity(0, &cpus)
	}
	if err := checkRounding(); err != nil {
		return nil, fmt.Errorf("cluster: %s: %w", lib.version, err)
	}
	return m.join(w, &before)
}

// initialize calls MPI_Init_thread, and makes errors return.
func (m *mpiWorld) initialize() error {
	if err := m.call("MPI_Init_thread", m.initThread, 0, 0, m.funneled, m.code.addr()); err != nil {
		return err
	}
	if got := m.code.int(); got < int(m.funneled) {
		return fmt.Errorf("cluster: %s gives thread level %d, %d is needed", m.version, got, m.funneled)
	}
	return m.call("MPI_Comm_set_errhandler", m.setErrhandler, m.world, m.returnErrors)
}

// checkRounding makes sure that the library has not switched small numbers off in this thread, as code that was built
// with -ffast-math does: sums would differ from other back ends.
func checkRounding() error {
	tiny := float32(0x1p-126)
	if half := tiny * halfOf; half == 0 {
		return errors.New("it switches denormal numbers off (built with -ffast-math)")
	}
	return nil
}

// halfOf is a variable, so that the compiler does not compute with it.
var halfOf = float32(0.5)

// join makes the group of all ranks, and the links to neighbors.
func (m *mpiWorld) join(w World, before *signalTable) (*Comm, error) {
	var err error
	if m.rank, m.size, err = m.place(m.world); err != nil {
		return nil, err
	}
	if w.Size > 0 && w.Size != m.size || w.Launcher != "" && w.Rank != m.rank {
		return nil, &SizeError{Launcher: w.Launcher, Library: m.version, Rank: w.Rank, Size: w.Size, GotRank: m.rank, GotSize: m.size}
	}
	comm, err := m.dup(m.world)
	if err != nil {
		return nil, err
	}
	g := &mpiGroup{w: m, comm: comm, rank: m.rank, size: m.size}
	if m.control, err = m.dup(m.world); err != nil {
		return nil, err
	}
	if err := m.openLinks(); err != nil {
		return nil, err
	}
	if err := g.gather(make([]byte, m.size), make([]byte, 1)); err != nil {
		return nil, err
	}
	// Only now have all parts of the library been used.
	if _, err := restoreSignals(before); err != nil {
		return nil, fmt.Errorf("cluster: %s keeps signals of the program: %w", m.version, err)
	}
	e := newEngine(m, m.version, Faults{}, m.opts)
	return &Comm{engine: e, t: g, rank: m.rank, size: m.size}, nil
}

// place asks for rank and size.
func (m *mpiWorld) place(comm uintptr) (rank, size int, err error) {
	if err := m.call("MPI_Comm_rank", m.commRank, comm, m.code.addr()); err != nil {
		return 0, 0, err
	}
	rank = m.code.int()
	if err := m.call("MPI_Comm_size", m.commSize, comm, m.code.addr()); err != nil {
		return 0, 0, err
	}
	return rank, m.code.int(), nil
}

// dup copies a communicator, with errors that return.
func (m *mpiWorld) dup(comm uintptr) (uintptr, error) {
	m.code.clear()
	if err := m.call("MPI_Comm_dup", m.commDup, comm, m.code.addr()); err != nil {
		return 0, err
	}
	copied := m.code.word()
	return copied, m.call("MPI_Comm_set_errhandler", m.setErrhandler, copied, m.returnErrors)
}

// close leaves MPI. All ranks have come here.
func (m *mpiWorld) close() error {
	if err := m.closeLinks(); err != nil {
		return err
	}
	if err := m.call("MPI_Finalize", m.finalize); err != nil {
		return err
	}
	if exit, err := purego.Dlsym(purego.RTLD_DEFAULT, "exit"); err == nil {
		mpiExit.Store(exit)
	}
	return nil
}

// mpiExit is exit of the C library, once MPI has been left.
var mpiExit atomic.Uintptr

// Exit ends the process, as a C program ends where MPI was in use: libraries have work left for the C library's exit, which
// os.Exit does not call. MPICH 5 says goodbye to its launcher there; without it, the launcher kills the other ranks.
func Exit(code int) {
	if exit := mpiExit.Load(); exit != 0 {
		_, _, _ = purego.SyscallN(exit, uintptr(code))
	}
	os.Exit(code)
}

// How long polling stays awake, and then dozes. A rank that waits for slower ones leaves the processor to its own
// computation.
const (
	awakeWaiting = 100 * time.Microsecond // for others to come
	dozeWaiting  = 2 * time.Millisecond   // afterwards it sleeps
	awakeMoving  = 2 * time.Millisecond   // while data moves
	dozeMoving   = time.Hour
)

// nap is how long polling that dozes rests: time.Sleep would be a millisecond at least in a process that does nothing
// else, and ranks that wait for each other's sleep would never get out of it. But it keeps a processor of Go's.
func nap() {
	_ = unix.Nanosleep(&unix.Timespec{Nsec: 20_000}, nil)
}

// poll calls done until it reports true, and looks after the other ranks meanwhile.
func (m *mpiWorld) poll(awake, doze time.Duration, done func() (bool, error)) error {
	var start time.Time
	for n, asleep := 1, false; ; n++ {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if n%16 != 0 && !asleep {
			continue // the clock costs more than a test
		}
		now := time.Now()
		if start.IsZero() {
			start = now
		}
		if now.Sub(m.lastTick) > beatEvery/10 || m.aborting.Load() != nil {
			if err := m.tick(); err != nil {
				return err
			}
		}
		waited := now.Sub(start)
		asleep = waited >= awake
		switch {
		case !asleep:
			_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		case waited < doze:
			nap()
		default:
			// An idle server's ranks wait for hours.
			time.Sleep(min(max(waited/200, time.Millisecond), 10*time.Millisecond))
		}
	}
}

// finished tests a request.
func (m *mpiWorld) finished(r cell) (bool, error) {
	if err := m.call("MPI_Test", m.test, r.addr(), m.code.addr(), m.ignore); err != nil {
		return false, err
	}
	return m.code.int() != 0, nil
}

// mpiGroup is a communicator.
type mpiGroup struct {
	w          *mpiWorld
	comm       uintptr
	rank, size int

	small []cell   // memory of gather: the own block, all blocks
	one   cell     // request of gather and broadcast
	idle  [][]cell // requests for exchanges, two for each rank
}

func (g *mpiGroup) memory(n int) ([]byte, error) {
	var m memory
	b, err := m.take(n)
	return b[:min(n, len(b))], err
}

func (g *mpiGroup) oneRequest() (cell, error) {
	if g.one == nil {
		var err error
		if g.one, err = g.w.cells.take(8); err != nil {
			return nil, err
		}
	}
	g.one.clear()
	return g.one, nil
}

// smallBlock is how much of a block gather moves at once.
const smallBlock = 64 << 10

func (g *mpiGroup) gather(dst, src []byte) error {
	block := max(64, min(smallBlock, 4<<20/g.size))
	if g.small == nil {
		for _, n := range []int{block, block * g.size} {
			c, err := g.w.cells.take(n)
			if err != nil {
				return err
			}
			g.small = append(g.small, c)
		}
	}
	for k := range pieces(len(src), block) {
		from, to := cut(0, len(src), k, block)
		n := copy(g.small[0], src[from:to])
		r, err := g.oneRequest()
		if err != nil {
			return err
		}
		err = g.w.call("MPI_Iallgather", g.w.iallgather, g.small[0].addr(), uintptr(n), g.w.bytes,
			g.small[1].addr(), uintptr(n), g.w.bytes, g.comm, r.addr())
		if err != nil {
			return err
		}
		if err := g.w.poll(awakeWaiting, dozeWaiting, func() (bool, error) { return g.w.finished(r) }); err != nil {
			return err
		}
		for p := range g.size {
			copy(dst[p*len(src)+from:p*len(src)+to], g.small[1][p*n:])
		}
	}
	return nil
}

// tagData is the tag of exchanges.
const tagData = 1

// mpiPending is an exchange on its way.
type mpiPending struct {
	g        *mpiGroup
	requests []cell // go back to the group
	left     []cell // in progress
}

// takeRequests returns requests that no exchange uses.
func (g *mpiGroup) takeRequests() ([]cell, error) {
	if n := len(g.idle); n > 0 {
		r := g.idle[n-1]
		g.idle = g.idle[:n-1]
		return r, nil
	}
	requests := make([]cell, 2*g.size)
	for i := range requests {
		var err error
		if requests[i], err = g.w.cells.take(8); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

func (g *mpiGroup) exchange(send, recv [][]byte) (pending, error) {
	requests, err := g.takeRequests()
	if err != nil {
		return nil, err
	}
	p := &mpiPending{g: g, requests: requests}
	begin := func(name string, fn uintptr, peer int, b []byte) error {
		if len(b) == 0 {
			return nil
		}
		r := requests[len(p.left)]
		r.clear()
		if err := g.w.call(name, fn, cell(b).addr(), uintptr(len(b)), g.w.bytes, uintptr(peer), tagData, g.comm, r.addr()); err != nil {
			return err
		}
		p.left = append(p.left, r)
		return nil
	}
	for d := 1; d < g.size; d++ {
		if err := begin("MPI_Irecv", g.w.irecv, (g.rank-d+g.size)%g.size, recv[(g.rank-d+g.size)%g.size]); err != nil {
			return nil, err
		}
	}
	for d := 1; d < g.size; d++ {
		if err := begin("MPI_Isend", g.w.isend, (g.rank+d)%g.size, send[(g.rank+d)%g.size]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *mpiPending) wait() error {
	return p.g.w.poll(awakeMoving, dozeMoving, func() (bool, error) {
		for len(p.left) > 0 {
			if ok, err := p.g.w.finished(p.left[0]); !ok || err != nil {
				return false, err
			}
			p.left = p.left[1:]
		}
		p.g.idle = append(p.g.idle, p.requests)
		return true, nil
	})
}

func (g *mpiGroup) broadcast(root int, buf []byte) error {
	const most = 1 << 30 // counts have 31 bits
	for k := range pieces(len(buf), most) {
		from, to := cut(0, len(buf), k, most)
		r, err := g.oneRequest()
		if err != nil {
			return err
		}
		err = g.w.call("MPI_Ibcast", g.w.ibcast, cell(buf[from:to]).addr(), uintptr(to-from), g.w.bytes, uintptr(root), g.comm, r.addr())
		if err != nil {
			return err
		}
		if err := g.w.poll(awakeMoving, dozeMoving, func() (bool, error) { return g.w.finished(r) }); err != nil {
			return err
		}
	}
	return nil
}

func (g *mpiGroup) split(color, key int) (transport, error) {
	w := g.w
	c := int32(color)
	if color < 0 {
		c = w.undefined
	}
	w.code.clear()
	if err := w.call("MPI_Comm_split", w.commSplit, g.comm, uintptr(c), uintptr(int32(key)), w.code.addr()); err != nil || color < 0 {
		return nil, err
	}
	child := &mpiGroup{w: w, comm: w.code.word()}
	if err := w.call("MPI_Comm_set_errhandler", w.setErrhandler, child.comm, w.returnErrors); err != nil {
		return nil, err
	}
	var err error
	child.rank, child.size, err = w.place(child.comm)
	return child, err
}
