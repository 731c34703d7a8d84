//go:build linux && !nodl && (amd64 || arm64)

package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// mpiABI is what differs between MPI libraries: their headers give constants other values, and handles are pointers or
// 32-bit numbers. A number fits where a pointer is passed; memory for a handle has 8 bytes in any case.
type mpiABI struct {
	name         string
	world        uintptr // MPI_COMM_WORLD
	bytes        uintptr // MPI_BYTE
	returnErrors uintptr // MPI_ERRORS_RETURN
	ignore       uintptr // MPI_STATUS_IGNORE
	funneled     uintptr // MPI_THREAD_FUNNELED
	undefined    int32   // MPI_UNDEFINED
}

// mpiLib is a loaded library.
type mpiLib struct {
	mpiABI
	file    string
	version string // its own words, one line

	initThread, finalize, abort                            uintptr
	commRank, commSize, commDup, commSplit                 uintptr
	setErrhandler, errorString                             uintptr
	isend, irecv, test, iallgather, ibcast, libraryVersion uintptr
}

// mpiNames are the names of libraries, the launcher's own first.
func mpiNames(w World, o Options, getenv func(string) string) []string {
	if name := o.Library; name != "" {
		return []string{name}
	}
	if name := getenv("LEO_MPI"); name != "" {
		return []string{name}
	}
	openMPI := []string{"libmpi.so.40"}
	mpich := []string{"libmpi.so.12", "libmpich.so.12"}
	if root := getenv("I_MPI_ROOT"); root != "" {
		for _, dir := range []string{"lib/release", "lib", "intel64/lib/release"} {
			mpich = append([]string{filepath.Join(root, dir, "libmpi.so.12")}, mpich...)
		}
	}
	if prefix := getenv("OPAL_PREFIX"); prefix != "" {
		openMPI = append([]string{filepath.Join(prefix, "lib", "libmpi.so.40")}, openMPI...)
	}
	standard := []string{"libmpi_abi.so.1"}
	pmix := w.Launcher == "Open MPI" || w.Launcher != "PMI" && getenv("PMIX_RANK") != ""
	if pmix {
		return append(append(openMPI, standard...), append(mpich, "libmpi.so")...)
	}
	return append(append(mpich, standard...), append(openMPI, "libmpi.so")...)
}

// loadMPI loads the first library that there is.
func loadMPI(names []string) (*mpiLib, error) {
	missing := &LibraryError{}
	for _, name := range names {
		// Global: plugins of Open MPI up to 4 look for its symbols.
		handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err == nil {
			var lib *mpiLib
			if lib, err = bindMPI(name, handle); err == nil {
				return lib, nil
			}
		}
		missing.Tried, missing.Errs = append(missing.Tried, name), append(missing.Errs, err)
	}
	return nil, missing
}

// bindMPI finds the functions of a library, and which ABI it has.
func bindMPI(file string, handle uintptr) (*mpiLib, error) {
	lib := &mpiLib{file: file}
	for _, f := range []struct {
		to   *uintptr
		name string
	}{
		{&lib.initThread, "MPI_Init_thread"}, {&lib.finalize, "MPI_Finalize"},
		{&lib.abort, "MPI_Abort"}, {&lib.commRank, "MPI_Comm_rank"}, {&lib.commSize, "MPI_Comm_size"},
		{&lib.commDup, "MPI_Comm_dup"}, {&lib.commSplit, "MPI_Comm_split"},
		{&lib.setErrhandler, "MPI_Comm_set_errhandler"}, {&lib.errorString, "MPI_Error_string"},
		{&lib.isend, "MPI_Isend"}, {&lib.irecv, "MPI_Irecv"}, {&lib.test, "MPI_Test"},
		{&lib.iallgather, "MPI_Iallgather"}, {&lib.ibcast, "MPI_Ibcast"}, {&lib.libraryVersion, "MPI_Get_library_version"},
	} {
		var err error
		if *f.to, err = purego.Dlsym(handle, f.name); err != nil {
			return nil, err
		}
	}
	if err := lib.askVersion(); err != nil {
		return nil, err
	}
	symbol := func(name string) (uintptr, error) { return purego.Dlsym(handle, name) }
	return lib, lib.chooseABI(symbol)
}

// chooseABI finds out which header the library was made with.
func (l *mpiLib) chooseABI(symbol func(string) (uintptr, error)) error {
	if world, err := symbol("ompi_mpi_comm_world"); err == nil {
		l.mpiABI = mpiABI{name: "Open MPI", world: world, funneled: 1, undefined: -32766}
		if l.bytes, err = symbol("ompi_mpi_byte"); err != nil {
			return err
		}
		l.returnErrors, err = symbol("ompi_mpi_errors_return")
		return err
	}
	// Libraries with an ABI of their own may know the standard's functions too; the name tells the file.
	if _, err := symbol("MPI_Abi_get_version"); err == nil && strings.Contains(filepath.Base(l.file), "_abi.") {
		l.mpiABI = standardABI
		return nil
	}
	for _, family := range []string{"MPICH", "Intel", "CRAY", "MVAPICH", "ParaStation"} {
		if strings.Contains(l.version, family) {
			l.mpiABI = mpichABI
			return nil
		}
	}
	return fmt.Errorf("an MPI library that Leo does not know: %s", l.version)
}

var (
	mpichABI = mpiABI{name: "MPICH", world: 0x44000000, bytes: 0x4c00010d, returnErrors: 0x54000001, ignore: 1,
		funneled: 1, undefined: -32766}
	// The ABI of the standard itself, from MPI 5.0 on.
	standardABI = mpiABI{name: "MPI ABI", world: 0x101, bytes: 0x247, returnErrors: 0x143, funneled: 1024, undefined: -32766}
)

// askVersion reads the library's own description, which is allowed before MPI_Init.
func (l *mpiLib) askVersion() error {
	text := make([]byte, 8192) // MPICH's bound, the largest
	length := new(int32)
	if r, _, _ := purego.SyscallN(l.libraryVersion, uintptr(unsafe.Pointer(unsafe.SliceData(text))), uintptr(unsafe.Pointer(length))); int32(r) != 0 {
		return fmt.Errorf("MPI_Get_library_version: code %d", int32(r))
	}
	text = text[:max(0, min(int(*length), len(text)))]
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	l.version = strings.Join(strings.Fields(line), " ")
	return nil
}

// call calls a function that returns an MPI error code. Pointers among the arguments are to memory that Go does not
// move or free: mmap'ed.
func (l *mpiLib) call(name string, fn uintptr, args ...uintptr) error {
	r, _, _ := purego.SyscallN(fn, args...)
	if code := int32(r); code != 0 {
		return &MPIError{name, int(code), l.errorText(code)}
	}
	return nil
}

func (l *mpiLib) errorText(code int32) string {
	text := make([]byte, 1024)
	length := new(int32)
	r, _, _ := purego.SyscallN(l.errorString, uintptr(code), uintptr(unsafe.Pointer(unsafe.SliceData(text))), uintptr(unsafe.Pointer(length)))
	if int32(r) != 0 || *length <= 0 || int(*length) > len(text) {
		return "unknown error"
	}
	return strings.TrimRight(strings.TrimSpace(string(text[:*length])), "\x00")
}

// quietLibraries asks the libraries under MPI to leave Go's signals alone: UCX takes SIGSEGV when it is loaded, PSM
// others. What the user has set stays.
func quietLibraries() error {
	for _, v := range [][2]string{
		{"UCX_ERROR_SIGNALS", ""}, {"UCX_DEBUG_SIGNO", "0"}, {"IPATH_NO_BACKTRACE", "1"}, {"HFI_NO_BACKTRACE", "1"},
	} {
		if _, set := os.LookupEnv(v[0]); !set {
			if err := os.Setenv(v[0], v[1]); err != nil {
				return err
			}
		}
	}
	return nil
}
