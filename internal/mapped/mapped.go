// Package mapped turns faults in memory-mapped files into errors.
//
// A page of a mapped file that the file no longer has (another process
// truncated it) or that its disk cannot read is a signal, not an error: by
// default it ends the process with a dump. The package owns the list of what is
// mapped in this process, and Guard, which turns such a signal into a
// *FaultError that names the file. It does not map files itself.
//
// The list belongs to the process because its address space does.
package mapped

import (
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"unsafe"
)

// A FaultError says that a mapped file could not be read.
type FaultError struct {
	File   string
	Offset int64 // byte in File
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("%s: byte %d can no longer be read: the file was truncated or replaced in place while in use, or its disk fails", e.File, e.Offset)
}

// area is a mapped part of a file.
type area struct {
	from, to uintptr
	file     string
	offset   int64
	gone     bool // unmapped; kept for faults that are looked up afterwards
}

var (
	mu    sync.Mutex
	areas []area
)

// mostGone bounds how many unmapped areas are remembered.
const mostGone = 64

// Register enters a mapped part of a file that begins at a byte of it. The
// function that it returns must be called when the part is unmapped.
func Register(file string, offset int64, data []byte) (unregister func()) {
	if len(data) == 0 {
		return func() {}
	}
	from := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	a := area{from: from, to: from + uintptr(len(data)), file: file, offset: offset}
	mu.Lock()
	defer mu.Unlock()
	gone := 0
	for _, x := range areas {
		if x.gone {
			gone++
		}
	}
	areas = slices.DeleteFunc(areas, func(x area) bool {
		drop := x.gone && (x.from < a.to && a.from < x.to || gone > mostGone)
		if drop {
			gone--
		}
		return drop
	})
	areas = append(areas, a)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		for i := range areas {
			if x := &areas[i]; x.from == a.from && x.to == a.to && !x.gone {
				x.gone = true
				return
			}
		}
	}
}

func find(addr uintptr) *FaultError {
	mu.Lock()
	defer mu.Unlock()
	for _, x := range slices.Backward(areas) {
		// The system maps whole pages: the last one may reach beyond the file's end.
		if addr >= x.from && addr < x.to {
			return &FaultError{File: x.file, Offset: x.offset + int64(min(uint64(addr-x.from), math.MaxInt64))}
		}
	}
	return nil
}

// Fault returns the error for what a goroutine that Watch was called on
// panicked with, or nil if that is no fault in a mapped file.
func Fault(panicked any) error {
	for v := panicked; v != nil; {
		if at, ok := v.(interface{ Addr() uintptr }); ok {
			if e := find(at.Addr()); e != nil {
				return e
			}
			return nil
		}
		w, ok := v.(interface{ Unwrap() error })
		if !ok {
			return nil
		}
		v = w.Unwrap()
	}
	return nil
}

// Watch makes faults in mapped files panics in the calling goroutine, which
// recovers and asks Fault what they are. The function that it returns undoes it.
func Watch() (undo func()) {
	old := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(old) }
}

// Guard runs f and returns its error, or a *FaultError where f touched a page
// that a mapped file no longer has. What f started in other goroutines must be
// guarded there; package pool's workers are. Other panics go on.
func Guard(f func() error) (err error) {
	defer Watch()()
	defer func() {
		if v := recover(); v != nil {
			if err = Fault(v); err == nil {
				panic(v)
			}
		}
	}()
	return f()
}
