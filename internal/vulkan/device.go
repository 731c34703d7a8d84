package vulkan

import (
	"fmt"
	"unsafe"
)

// Device is an open device.
type Device struct {
	*instance
	physical *physical
	options  Options
	dev      uintptr
	queue    uintptr
	layout   uintptr // of all pipelines: push constants
	pool     uintptr
	kernels  []*Kernel
	fns      functions

	heaps     [2]heap
	taken     int64 // bytes of device memory
	stream    stream
	submitted int
	commands  int   // recorded
	err       error // the first that nobody has been told of
	lost      error
}

// functions are those of the device that passes call often.
type functions struct {
	bind, push, dispatch, barrier, copy, begin, end, submit, wait, reset uintptr
}

// PushBytes is the size of push constants, the least that every driver offers.
const PushBytes = 128

// open opens the device that o names.
func (i *instance) open(o Options) (*Device, error) {
	found, err := i.devices(o)
	if err != nil {
		return nil, err
	}
	p, err := choose(found, o.Index)
	if err != nil {
		return nil, err
	}
	if len(p.Lacks) > 0 {
		return nil, &FeatureError{Device: p.Name, Missing: p.Lacks}
	}
	d := &Device{instance: i, physical: p, options: o}
	if err := d.create(); err != nil {
		return nil, err
	}
	if err := d.prepare(); err != nil {
		i.call("vkDestroyDevice", d.dev, 0)
		return nil, err
	}
	return d, nil
}

// create makes the logical device and its queue.
func (d *Device) create() error {
	p := d.physical
	priority := float32(1)
	queue := &deviceQueueCreateInfo{head: head{sType: typeDeviceQueueCreateInfo}, flags: 0, queueFamilyIndex: p.family, queueCount: 1, queuePriorities: &priority}
	f12 := &physicalDeviceVulkan12Features{head: head{sType: typeVulkan12Features}}
	var extensions []string
	if p.Matrix != (Matrix{}) {
		f := newMatrixFeatures()
		f.v12.shaderFloat16, f.v12.vulkanMemoryModel, f.matrix.cooperativeMatrix = 1, 1, 1
		f.v12.vulkanMemoryModelDeviceScope = 1 // other shaders of the device use it: atomics
		f.lanes.subgroupSizeControl, f.lanes.computeFullSubgroups = 1, 1
		f12, extensions = &f.v12, append(extensions, FeatureMatrix, FeatureLanes)
	}
	f12.bufferDeviceAddress = 1
	f11 := &physicalDeviceVulkan11Features{head: head{typeVulkan11Features, unsafe.Pointer(f12)}, storageBuffer16BitAccess: 1}
	info := &deviceCreateInfo{head: head{typeDeviceCreateInfo, unsafe.Pointer(f11)}, queueCreateInfoCount: 1, queueCreateInfos: queue}
	if p.budget {
		extensions = append(extensions, budgetExtension)
	}
	if len(extensions) > 0 {
		info.enabledExtensionCount, info.enabledExtensionNames = uint32(len(extensions)), cStrings(extensions)
	}
	if err := d.check("vkCreateDevice", p.handle, uintptr(unsafe.Pointer(info)), 0, uintptr(unsafe.Pointer(&d.dev))); err != nil {
		return err
	}
	d.call("vkGetDeviceQueue", d.dev, uintptr(p.family), 0, uintptr(unsafe.Pointer(&d.queue)))
	return nil
}

// prepare makes what all commands share.
func (d *Device) prepare() error {
	for _, f := range []struct {
		to   *uintptr
		name string
	}{
		{&d.fns.bind, "vkCmdBindPipeline"}, {&d.fns.push, "vkCmdPushConstants"}, {&d.fns.dispatch, "vkCmdDispatch"},
		{&d.fns.barrier, "vkCmdPipelineBarrier"}, {&d.fns.copy, "vkCmdCopyBuffer"}, {&d.fns.begin, "vkBeginCommandBuffer"},
		{&d.fns.end, "vkEndCommandBuffer"}, {&d.fns.submit, "vkQueueSubmit"}, {&d.fns.wait, "vkWaitForFences"}, {&d.fns.reset, "vkResetFences"},
	} {
		*f.to = d.instance.call("vkGetDeviceProcAddr", d.dev, uintptr(unsafe.Pointer(cString(f.name))))
		if *f.to == 0 {
			return fmt.Errorf("the driver lacks %s", f.name)
		}
	}
	constants := &pushConstantRange{stageFlags: stageCompute, offset: 0, size: PushBytes}
	layout := &pipelineLayoutCreateInfo{head: head{sType: typePipelineLayout}, pushConstantRangeCount: 1, pushConstantRanges: constants}
	if err := d.check("vkCreatePipelineLayout", d.dev, uintptr(unsafe.Pointer(layout)), 0, uintptr(unsafe.Pointer(&d.layout))); err != nil {
		return err
	}
	pool := &commandPoolCreateInfo{head: head{sType: typeCommandPoolCreateInfo}, flags: poolReset, queueFamilyIndex: d.physical.family}
	if err := d.check("vkCreateCommandPool", d.dev, uintptr(unsafe.Pointer(pool)), 0, uintptr(unsafe.Pointer(&d.pool))); err != nil {
		return err
	}
	d.heaps[Local].memoryType, d.heaps[Host].memoryType = d.physical.local, d.physical.host
	return d.openStream()
}

// Info describes the device.
func (d *Device) Info() Info { return d.physical.Info }

// Close waits for what runs, and gives everything back. It returns an error if buffers were not freed; those of
// heap blocks that hold them are given back all the same.
func (d *Device) Close() error {
	if d.dev == 0 {
		return nil
	}
	d.call("vkDeviceWaitIdle", d.dev)
	d.closeStream()
	for _, k := range d.kernels {
		d.call("vkDestroyPipeline", d.dev, k.pipeline, 0)
	}
	left := d.heaps[Local].live
	for i := range d.heaps {
		d.heaps[i].destroy(d)
	}
	d.give(d.taken)
	d.call("vkDestroyCommandPool", d.dev, d.pool, 0)
	d.call("vkDestroyPipelineLayout", d.dev, d.layout, 0)
	d.call("vkDestroyDevice", d.dev, 0)
	d.dev = 0
	d.destroy()
	if left > 0 {
		return &LeakError{Buffers: left}
	}
	return nil
}

// LeakError says that buffers were never freed.
type LeakError struct{ Buffers int }

func (e *LeakError) Error() string {
	return fmt.Sprintf("%d buffers of the GPU were never freed", e.Buffers)
}

// Kernel is a shader that can run.
type Kernel struct{ pipeline uintptr }

// Kernel makes a kernel of SPIR-V whose entry point is main; constants are its specialization constants 0, 1, ….
func (d *Device) Kernel(code []byte, constants ...uint32) (*Kernel, error) {
	return d.kernel(code, pipelineShaderStageCreateInfo{}, constants)
}

// MatrixKernel is Kernel for shaders that use the matrix units: all their subgroups have Info.Lanes invocations.
func (d *Device) MatrixKernel(code []byte, constants ...uint32) (*Kernel, error) {
	size := &pipelineShaderStageRequiredSubgroupSizeCreateInfo{head{sType: typeSubgroupSizeRequired}, uint32(d.physical.Lanes)}
	stage := pipelineShaderStageCreateInfo{head: head{pNext: unsafe.Pointer(size)}, flags: fullSubgroups}
	return d.kernel(code, stage, constants)
}

func (d *Device) kernel(code []byte, stage pipelineShaderStageCreateInfo, constants []uint32) (*Kernel, error) {
	words := make([]uint32, (len(code)+3)/4) // aligned
	copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words)), code)
	info := &shaderModuleCreateInfo{head: head{sType: typeShaderModuleCreateInfo}, codeSize: uint64(len(code)), code: unsafe.Pointer(unsafe.SliceData(words))}
	module := new(uintptr)
	if err := d.check("vkCreateShaderModule", d.dev, uintptr(unsafe.Pointer(info)), 0, uintptr(unsafe.Pointer(module))); err != nil {
		return nil, err
	}
	defer d.call("vkDestroyShaderModule", d.dev, *module, 0)
	stage.sType, stage.stage, stage.module, stage.name = typePipelineShaderStage, stageCompute, *module, cString("main")
	if len(constants) > 0 {
		entries := make([]specializationMapEntry, len(constants))
		for i := range entries {
			entries[i] = specializationMapEntry{uint32(i), uint32(4 * i), 4}
		}
		stage.specializationInfo = &specializationInfo{
			mapEntryCount: uint32(len(entries)), mapEntries: unsafe.SliceData(entries),
			dataSize: uint64(4 * len(constants)), data: unsafe.SliceData(constants),
		}
	}
	pipeline := &computePipelineCreateInfo{head: head{sType: typeComputePipeline}, stage: stage, layout: d.layout, basePipelineIndex: -1}
	k := &Kernel{}
	if err := d.check("vkCreateComputePipelines", d.dev, 0, 1, uintptr(unsafe.Pointer(pipeline)), 0, uintptr(unsafe.Pointer(&k.pipeline))); err != nil {
		return nil, err
	}
	d.kernels = append(d.kernels, k)
	return k, nil
}

// check calls a function of the driver and turns its result into an error.
//
//go:uintptrescapes
func (d *Device) check(name string, args ...uintptr) error {
	return d.result(name, int32(d.call(name, args...)))
}

func (d *Device) result(name string, code int32) error {
	switch code {
	case 0:
		return nil
	case deviceLost:
		d.lost = &LostError{Device: d.physical.Name, Call: name}
		return d.lost
	}
	return &CallError{name, int(code)}
}
