//go:build nodl || novulkan || !linux || !(amd64 || arm64)

package vulkan

func loadLibrary(names []string) (uintptr, error) {
	e := &LibraryError{}
	for _, name := range names {
		e.Tried, e.Errs = append(e.Tried, name), append(e.Errs, ErrNotBuilt)
	}
	return 0, e
}

func symbol(uintptr, string) (uintptr, error) { return 0, ErrNotBuilt }

// call is reached with a library only, and there is none.
func call(uintptr, ...uintptr) uintptr { panic(ErrNotBuilt) }
