package vulkan

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNotBuilt says that this build loads no libraries.
var ErrNotBuilt = errors.New("this program was built without Vulkan (tag novulkan or nodl, or a system where Leo has none)")

// LibraryError says that Vulkan's loader could not be used.
type LibraryError struct {
	Tried []string // names
	Errs  []error  // why not, for each
}

func (e *LibraryError) Error() string {
	var b strings.Builder
	b.WriteString("no Vulkan loader could be loaded:")
	for i, name := range e.Tried {
		fmt.Fprintf(&b, "\n  %s: %v", name, e.Errs[i])
	}
	return b.String()
}

// Unwrap returns why the libraries could not be used.
func (e *LibraryError) Unwrap() []error { return e.Errs }

// NoDeviceError says that the loader knows no driver with the device asked for.
type NoDeviceError struct {
	Index int // asked for; -1 for any
	Found int
}

func (e *NoDeviceError) Error() string {
	if e.Found == 0 {
		return "Vulkan's loader is there, but no driver offers a device"
	}
	return fmt.Sprintf("there is no GPU %d: Vulkan offers %d, counted from 0", e.Index, e.Found)
}

// FeatureError says that a device lacks what Leo needs.
type FeatureError struct {
	Device  string
	Missing []string // as Vulkan names them
}

func (e *FeatureError) Error() string {
	return fmt.Sprintf("%s cannot be used: it lacks %s", e.Device, strings.Join(e.Missing, ", "))
}

// MemoryError says that the memory of a device, or a limit below it, is used up.
type MemoryError struct {
	Needed    int64
	Available int64
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%d bytes of GPU memory are needed, %d are available", e.Needed, e.Available)
}

// LostError says that the device has stopped working: a fault of the driver, a reset, a pass that took too long. Nothing
// can be done with it any more.
type LostError struct {
	Device string
	Call   string
}

func (e *LostError) Error() string {
	return fmt.Sprintf("the GPU was lost: %s in %s", e.Device, e.Call)
}

// CallError is a failed call of the driver.
type CallError struct {
	Call string
	Code int
}

func (e *CallError) Error() string {
	return fmt.Sprintf("%s: %s (code %d)", e.Call, resultName(e.Code), e.Code)
}

// Results of calls that have a meaning here.
const (
	notReady         = 1
	timedOut         = 2
	outOfHostMemory  = -1
	outOfMemory      = -2
	deviceLost       = -4
	noDriver         = -9
	tooManyObjects   = -10
	unknownExtension = -7
)

func resultName(code int) string {
	switch code {
	case notReady:
		return "not ready"
	case timedOut:
		return "timeout"
	case outOfHostMemory:
		return "out of host memory"
	case outOfMemory:
		return "out of device memory"
	case -3:
		return "initialization failed"
	case deviceLost:
		return "device lost"
	case -6:
		return "layer not present"
	case unknownExtension:
		return "extension not present"
	case -8:
		return "feature not present"
	case noDriver:
		return "incompatible driver"
	case tooManyObjects:
		return "too many objects"
	}
	return "error"
}
