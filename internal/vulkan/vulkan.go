// Package vulkan owns the way to a GPU: Vulkan's loader, reached without cgo, a device with its memory, and commands that
// run shaders on it. It knows nothing of tensors and models; package device/vulkan computes with it.
//
// Shaders read and write memory through addresses (bufferDeviceAddress), which arrive as push constants: there are no
// descriptors, and no limit of a buffer's range. Commands are recorded, and run when somebody waits for a result; each
// sees the memory that the commands before it wrote, unless it is recorded as independent of the last one.
//
// A Device is used by one goroutine at a time.
package vulkan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"unsafe"
)

// Options choose a device and what it may take.
type Options struct {
	// Library is the file or name of Vulkan's loader; "" is the system's.
	Library string
	// Index is the device, as List counts them; Best is the first that is not the processor, else the first.
	Index int
	// Limit, if not 0, is how many bytes of device memory may be taken.
	Limit int64
	// Budget, if not nil, is a limit that this device shares with others.
	Budget *Budget
	// Without are features that count as missing, for tests.
	Without []string
	// LoseAfter, if not 0, is after how many submissions the device counts as lost, for tests.
	LoseAfter int
}

// Best is the Index of the device that Leo chooses.
const Best = -1

// Kind says what a device is.
type Kind uint32

// The kinds of devices, as Vulkan numbers them.
const (
	Other Kind = iota
	Integrated
	Discrete
	Virtual
	Processor // drivers that compute on the CPU, such as lavapipe
)

func (k Kind) String() string {
	switch k {
	case Integrated:
		return "integrated GPU"
	case Discrete:
		return "discrete GPU"
	case Virtual:
		return "virtual GPU"
	case Processor:
		return "CPU"
	}
	return "other device"
}

// MarshalText is String, for JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Info describes a device.
type Info struct {
	Index  int      `json:"index"`
	Name   string   `json:"name"`
	Kind   Kind     `json:"kind"`
	Driver string   `json:"driver"`
	API    string   `json:"vulkan"`
	Memory int64    `json:"memory"`        // bytes of the heap that Leo would use
	Free   int64    `json:"free"`          // of them, as far as the driver says
	Shared int      `json:"shared_memory"` // of a work group, bytes
	Lanes  int      `json:"subgroup"`      // invocations that run together
	Matrix Matrix   `json:"matrix,omitzero"`
	Lacks  []string `json:"lacks,omitempty"`
}

// The version of Vulkan that is asked for, and the features that are needed.
const (
	apiVersion    = 1<<22 | 2<<12
	featureAPI    = "Vulkan 1.2"
	featureAddr   = "bufferDeviceAddress"
	feature16     = "storageBuffer16BitAccess"
	featureQueue  = "a queue that computes"
	featureMemory = "memory that the processor sees"

	budgetExtension = "VK_EXT_memory_budget"
)

// List describes the devices of this machine.
func List(o Options) ([]Info, error) {
	o, err := o.masked()
	if err != nil {
		return nil, err
	}
	i, err := newInstance(o)
	if err != nil {
		return nil, err
	}
	defer i.destroy()
	found, err := i.devices(o)
	var infos []Info
	for _, p := range found {
		infos = append(infos, p.Info)
	}
	return infos, err
}

// Open opens a device. Its errors have types: *LibraryError, *NoDeviceError, *FeatureError and those of calls.
func Open(o Options) (*Device, error) {
	o, err := o.masked()
	if err != nil {
		return nil, err
	}
	i, err := newInstance(o)
	if err != nil {
		return nil, err
	}
	d, err := i.open(o)
	if err != nil {
		i.destroy()
		return nil, err
	}
	return d, nil
}

// instance is a loaded library.
type instance struct {
	procs  map[string]uintptr
	proc   uintptr // vkGetInstanceProcAddr
	handle uintptr
}

func newInstance(o Options) (*instance, error) {
	names := []string{"libvulkan.so.1", "libvulkan.so"}
	if o.Library != "" {
		names = []string{o.Library}
	}
	if o.without(maskLoader) {
		return nil, &LibraryError{Tried: []string{names[0]}, Errs: []error{errors.New("masked by " + maskVariable)}}
	}
	lib, err := loadLibrary(names)
	if err != nil {
		return nil, err
	}
	i := &instance{procs: map[string]uintptr{}}
	if i.proc, err = symbol(lib, "vkGetInstanceProcAddr"); err != nil {
		return nil, &LibraryError{Tried: names[:1], Errs: []error{err}}
	}
	app := &applicationInfo{head: head{sType: typeApplicationInfo}, applicationName: cString("leo"), applicationVersion: 1,
		engineName: cString("leo"), engineVersion: 1, apiVersion: apiVersion}
	info := &instanceCreateInfo{head: head{sType: typeInstanceCreateInfo}, applicationInfo: app}
	err = i.check("vkCreateInstance", uintptr(unsafe.Pointer(info)), 0, uintptr(unsafe.Pointer(&i.handle)))
	var failed *CallError
	if errors.As(err, &failed) && failed.Code == noDriver {
		return nil, &NoDeviceError{Index: Best}
	}
	return i, err
}

func (i *instance) destroy() {
	if i.handle != 0 {
		i.call("vkDestroyInstance", i.handle, 0)
		i.handle = 0
	}
}

// fn finds a function of the instance.
func (i *instance) fn(name string) uintptr {
	f, ok := i.procs[name]
	if !ok {
		f = call(i.proc, i.handle, uintptr(unsafe.Pointer(cString(name))))
		i.procs[name] = f
	}
	return f
}

//go:uintptrescapes
func (i *instance) call(name string, args ...uintptr) uintptr {
	if f := i.fn(name); f != 0 {
		return call(f, args...)
	}
	return uintptr(uint32(0xffffffff & unknownFunction)) // the loader lacks it
}

// unknownFunction is the result of a call of a function that there is not.
const unknownFunction = 1<<32 + unknownExtension

//go:uintptrescapes
func (i *instance) check(name string, args ...uintptr) error {
	if code := int32(i.call(name, args...)); code != 0 {
		return &CallError{name, int(code)}
	}
	return nil
}

// physical is a device that there is.
type physical struct {
	Info
	handle  uintptr
	family  uint32 // of queues
	memory  physicalDeviceMemoryProperties
	local   uint32 // memory type of tensors
	host    uint32 // of what the processor writes and reads
	largest uint64 // allocation
	budget  bool   // the driver says what is free
}

// devices lists the physical devices.
func (i *instance) devices(o Options) ([]*physical, error) {
	n := new(uint32)
	if err := i.check("vkEnumeratePhysicalDevices", i.handle, uintptr(unsafe.Pointer(n)), 0); err != nil {
		return nil, err
	}
	if *n == 0 || o.without(maskDevices) {
		return nil, nil
	}
	handles := make([]uintptr, *n)
	if err := i.check("vkEnumeratePhysicalDevices", i.handle, uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(unsafe.SliceData(handles)))); err != nil {
		return nil, err
	}
	var found []*physical
	for index, h := range handles[:*n] {
		p := &physical{handle: h}
		i.describe(p, o)
		p.Index = index
		found = append(found, p)
	}
	return found, nil
}

// describe fills p in.
func (i *instance) describe(p *physical, o Options) {
	v12 := &physicalDeviceVulkan12Properties{head: head{sType: typeVulkan12Properties}}
	v11 := &physicalDeviceVulkan11Properties{head: head{typeVulkan11Properties, unsafe.Pointer(v12)}}
	props := &physicalDeviceProperties2{head: head{sType: typeProperties2}}
	i.call("vkGetPhysicalDeviceProperties", p.handle, uintptr(unsafe.Pointer(&props.properties)))
	version := props.properties.apiVersion
	p.Name, p.Kind = goString(props.properties.deviceName[:]), Kind(props.properties.deviceType)
	p.API = fmt.Sprintf("%d.%d.%d", version>>22&0x7f, version>>12&0x3ff, version&0xfff)
	if version < apiVersion || o.without(featureAPI) {
		p.Lacks = append(p.Lacks, featureAPI)
		return // the rest cannot be asked
	}
	props.pNext = unsafe.Pointer(v11)
	i.call("vkGetPhysicalDeviceProperties2", p.handle, uintptr(unsafe.Pointer(props)))
	p.Driver = goString(v12.driverName[:]) + " " + goString(v12.driverInfo[:])
	p.Shared, p.Lanes = int(props.properties.limits.maxComputeSharedMemorySize), int(v11.subgroupSize)
	p.largest = cmp.Or(v11.maxMemoryAllocationSize, 1<<30)

	f12 := &physicalDeviceVulkan12Features{head: head{sType: typeVulkan12Features}}
	f11 := &physicalDeviceVulkan11Features{head: head{typeVulkan11Features, unsafe.Pointer(f12)}}
	features := &physicalDeviceFeatures2{head: head{typeFeatures2, unsafe.Pointer(f11)}}
	i.call("vkGetPhysicalDeviceFeatures2", p.handle, uintptr(unsafe.Pointer(features)))
	lacks := func(name string, has bool) {
		if !has || o.without(name) {
			p.Lacks = append(p.Lacks, name)
		}
	}
	lacks(featureAddr, f12.bufferDeviceAddress != 0)
	lacks(feature16, f11.storageBuffer16BitAccess != 0)
	lacks(featureQueue, i.computeFamily(p))
	p.budget = !o.without(budgetExtension) && i.hasExtension(p.handle, budgetExtension)
	lacks(featureMemory, i.memoryTypes(p))
	p.Matrix = i.matrixUnits(p, o)
}

// computeFamily finds queues that compute, those that do nothing else last: the first family is the driver's main one.
func (i *instance) computeFamily(p *physical) bool {
	n := new(uint32)
	i.call("vkGetPhysicalDeviceQueueFamilyProperties", p.handle, uintptr(unsafe.Pointer(n)), 0)
	if *n == 0 {
		return false
	}
	families := make([]queueFamilyProperties, *n)
	i.call("vkGetPhysicalDeviceQueueFamilyProperties", p.handle, uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(unsafe.SliceData(families))))
	at := slices.IndexFunc(families[:*n], func(f queueFamilyProperties) bool { return f.queueFlags&queueCompute != 0 })
	p.family = uint32(max(at, 0))
	return at >= 0
}

func (i *instance) hasExtension(device uintptr, name string) bool {
	n := new(uint32)
	if i.check("vkEnumerateDeviceExtensionProperties", device, 0, uintptr(unsafe.Pointer(n)), 0) != nil || *n == 0 {
		return false
	}
	all := make([]extensionProperties, *n)
	if i.check("vkEnumerateDeviceExtensionProperties", device, 0, uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(unsafe.SliceData(all)))) != nil {
		return false
	}
	return slices.ContainsFunc(all[:*n], func(e extensionProperties) bool { return goString(e.extensionName[:]) == name })
}

// memoryTypes chooses the types of memory, and finds out how much there is.
func (i *instance) memoryTypes(p *physical) bool {
	i.readMemory(p)
	m := &p.memory
	best := func(score func(flags uint32, heap memoryHeap) int) (at uint32, ok bool) {
		top := 0
		for t := range m.memoryTypeCount {
			mt := m.memoryTypes[t]
			if s := score(mt.propertyFlags, m.memoryHeaps[mt.heapIndex]); s > top {
				top, at = s, t
			}
		}
		return at, top > 0
	}
	largest := uint64(0)
	for _, h := range m.memoryHeaps[:m.memoryHeapCount] {
		if h.flags&heapDeviceLocal != 0 {
			largest = max(largest, h.size)
		}
	}
	var okLocal, okHost bool
	p.local, okLocal = best(func(flags uint32, h memoryHeap) int {
		if flags&memoryDeviceLocal == 0 || h.size != largest {
			return 0
		}
		return 2 - int(flags>>1&1) // without the processor's view if possible
	})
	p.host, okHost = best(func(flags uint32, _ memoryHeap) int {
		if flags&memoryHostVisible == 0 || flags&memoryHostCoherent == 0 {
			return 0
		}
		return 1 + int(flags>>3&1)*2 + int(^flags&1) // cached, and the processor's own memory
	})
	heap := m.memoryTypes[p.local].heapIndex
	p.Memory = int64(m.memoryHeaps[heap].size)
	return okLocal && okHost
}

// readMemory reads the heaps and what is free.
func (i *instance) readMemory(p *physical) {
	budget := &physicalDeviceMemoryBudgetProperties{head: head{sType: typeMemoryBudgetProperties}}
	m := &physicalDeviceMemoryProperties2{head: head{sType: typeMemoryProperties2}}
	if p.budget {
		m.pNext = unsafe.Pointer(budget)
	}
	i.call("vkGetPhysicalDeviceMemoryProperties2", p.handle, uintptr(unsafe.Pointer(m)))
	p.memory = m.memoryProperties
	heap := p.memory.memoryTypes[p.local].heapIndex
	p.Free = int64(p.memory.memoryHeaps[heap].size)
	if p.budget {
		p.Free = max(0, int64(budget.heapBudget[heap])-int64(budget.heapUsage[heap]))
	}
}

// choose returns the device that is asked for.
func choose(found []*physical, index int) (*physical, error) {
	if index != Best {
		if index < 0 || index >= len(found) {
			return nil, &NoDeviceError{Index: index, Found: len(found)}
		}
		return found[index], nil
	}
	if len(found) == 0 {
		return nil, &NoDeviceError{Index: Best}
	}
	order := []Kind{Discrete, Integrated, Virtual, Other, Processor}
	return slices.MinFunc(found, func(a, b *physical) int {
		return cmp.Or(cmp.Compare(min(len(a.Lacks), 1), min(len(b.Lacks), 1)),
			cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)), cmp.Compare(a.Index, b.Index))
	}), nil
}
