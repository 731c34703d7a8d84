//go:build linux && !nodl && !novulkan && (amd64 || arm64)

package vulkan

import "github.com/ebitengine/purego"

// loadLibrary loads the first library that there is.
func loadLibrary(names []string) (uintptr, error) {
	missing := &LibraryError{}
	for _, name := range names {
		handle, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err == nil {
			return handle, nil
		}
		missing.Tried, missing.Errs = append(missing.Tried, name), append(missing.Errs, err)
	}
	return 0, missing
}

func symbol(library uintptr, name string) (uintptr, error) { return purego.Dlsym(library, name) }

// call calls a C function. What arguments point to stays where it is during the call.
//
//go:uintptrescapes
func call(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}
