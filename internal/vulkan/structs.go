package vulkan

import "unsafe"

// Structures of vulkan_core.h, laid out as in C on 64-bit machines. Their names and those of their fields are C's, with
// the case of Go; what is not used is padding. TestLayout holds sizes and offsets against what a C compiler says.

// Values of VkStructureType.
const (
	typeApplicationInfo         = 0
	typeInstanceCreateInfo      = 1
	typeDeviceQueueCreateInfo   = 2
	typeDeviceCreateInfo        = 3
	typeSubmitInfo              = 4
	typeMemoryAllocateInfo      = 5
	typeFenceCreateInfo         = 8
	typeBufferCreateInfo        = 12
	typeShaderModuleCreateInfo  = 16
	typePipelineShaderStage     = 18
	typeComputePipeline         = 29
	typePipelineLayout          = 30
	typeCommandPoolCreateInfo   = 39
	typeCommandBufferAllocate   = 40
	typeCommandBufferBegin      = 42
	typeMemoryBarrier           = 46
	typeVulkan11Features        = 49
	typeVulkan12Features        = 51
	typeVulkan11Properties      = 50
	typeVulkan12Properties      = 52
	typeFeatures2               = 1000059000
	typeProperties2             = 1000059001
	typeMemoryProperties2       = 1000059006
	typeMemoryAllocateFlags     = 1000060000
	typeMemoryBudgetProperties  = 1000237000
	typeBufferDeviceAddressInfo = 1000244001
	typeSubgroupSizeProperties  = 1000225000
	typeSubgroupSizeRequired    = 1000225001
	typeSubgroupSizeFeatures    = 1000225002
	typeMatrixFeatures          = 1000506000
	typeMatrixProperties        = 1000506001
)

// head begins every extensible structure.
type head struct {
	sType uint32
	pNext unsafe.Pointer
}

type applicationInfo struct {
	head
	applicationName    *byte
	applicationVersion uint32
	engineName         *byte
	engineVersion      uint32
	apiVersion         uint32
}

type instanceCreateInfo struct {
	head
	flags                 uint32
	applicationInfo       *applicationInfo
	enabledLayerCount     uint32
	enabledLayerNames     **byte
	enabledExtensionCount uint32
	enabledExtensionNames **byte
}

type physicalDeviceLimits struct {
	_                              [8]uint32
	maxPushConstantsSize           uint32
	maxMemoryAllocationCount       uint32
	_                              [44]uint32
	maxComputeSharedMemorySize     uint32
	maxComputeWorkGroupCount       [3]uint32
	maxComputeWorkGroupInvocations uint32
	maxComputeWorkGroupSize        [3]uint32
	_                              [62]uint32
	nonCoherentAtomSize            uint64
}

type physicalDeviceProperties struct {
	apiVersion        uint32
	driverVersion     uint32
	vendorID          uint32
	deviceID          uint32
	deviceType        uint32
	deviceName        [256]byte
	pipelineCacheUUID [16]byte
	limits            physicalDeviceLimits
	sparseProperties  [5]uint32
}

type physicalDeviceProperties2 struct {
	head
	properties physicalDeviceProperties
}

type physicalDeviceVulkan11Properties struct {
	head
	_                       [12]uint32
	subgroupSize            uint32
	_                       [8]uint32
	maxMemoryAllocationSize uint64
}

type physicalDeviceVulkan12Properties struct {
	head
	driverID   uint32
	driverName [256]byte
	driverInfo [256]byte
	_          [50]uint32
}

type physicalDeviceVulkan11Features struct {
	head
	storageBuffer16BitAccess uint32
	_                        [11]uint32
}

type physicalDeviceVulkan12Features struct {
	head
	_                            [7]uint32
	shaderFloat16                uint32
	_                            [30]uint32
	bufferDeviceAddress          uint32
	_                            [2]uint32
	vulkanMemoryModel            uint32
	vulkanMemoryModelDeviceScope uint32
	_                            [4]uint32
}

type physicalDeviceSubgroupSizeControlFeatures struct {
	head
	subgroupSizeControl, computeFullSubgroups uint32
}

type physicalDeviceSubgroupSizeControlProperties struct {
	head
	minSubgroupSize, maxSubgroupSize, maxComputeWorkgroupSubgroups, requiredSubgroupSizeStages uint32
}

type pipelineShaderStageRequiredSubgroupSizeCreateInfo struct {
	head
	requiredSubgroupSize uint32
}

type physicalDeviceCooperativeMatrixFeatures struct {
	head
	cooperativeMatrix, cooperativeMatrixRobustBufferAccess uint32
}

type cooperativeMatrixProperties struct {
	head
	mSize, nSize, kSize             uint32
	aType, bType, cType, resultType uint32
	saturatingAccumulation, scope   uint32
}

type physicalDeviceFeatures2 struct {
	head
	features [55]uint32
}

type memoryType struct{ propertyFlags, heapIndex uint32 }

type memoryHeap struct {
	size  uint64
	flags uint32
}

type physicalDeviceMemoryProperties struct {
	memoryTypeCount uint32
	memoryTypes     [32]memoryType
	memoryHeapCount uint32
	memoryHeaps     [16]memoryHeap
}

type physicalDeviceMemoryProperties2 struct {
	head
	memoryProperties physicalDeviceMemoryProperties
}

type physicalDeviceMemoryBudgetProperties struct {
	head
	heapBudget, heapUsage [16]uint64
}

type extensionProperties struct {
	extensionName [256]byte
	specVersion   uint32
}

type queueFamilyProperties struct {
	queueFlags, queueCount, timestampValidBits uint32
	minImageTransferGranularity                [3]uint32
}

type deviceQueueCreateInfo struct {
	head
	flags, queueFamilyIndex, queueCount uint32
	queuePriorities                     *float32
}

type deviceCreateInfo struct {
	head
	flags                 uint32
	queueCreateInfoCount  uint32
	queueCreateInfos      *deviceQueueCreateInfo
	enabledLayerCount     uint32
	enabledLayerNames     **byte
	enabledExtensionCount uint32
	enabledExtensionNames **byte
	enabledFeatures       unsafe.Pointer
}

type memoryRequirements struct {
	size, alignment uint64
	memoryTypeBits  uint32
}

type bufferCreateInfo struct {
	head
	flags                 uint32
	size                  uint64
	usage                 uint32
	sharingMode           uint32
	queueFamilyIndexCount uint32
	queueFamilyIndices    *uint32
}

type memoryAllocateFlagsInfo struct {
	head
	flags, deviceMask uint32
}

type memoryAllocateInfo struct {
	head
	allocationSize  uint64
	memoryTypeIndex uint32
}

type bufferDeviceAddressInfo struct {
	head
	buffer uintptr
}

type shaderModuleCreateInfo struct {
	head
	flags    uint32
	codeSize uint64
	code     unsafe.Pointer
}

type pushConstantRange struct{ stageFlags, offset, size uint32 }

type pipelineLayoutCreateInfo struct {
	head
	flags                  uint32
	setLayoutCount         uint32
	setLayouts             unsafe.Pointer
	pushConstantRangeCount uint32
	pushConstantRanges     *pushConstantRange
}

type specializationMapEntry struct {
	constantID, offset uint32
	size               uint64
}

type specializationInfo struct {
	mapEntryCount uint32
	mapEntries    *specializationMapEntry
	dataSize      uint64
	data          *uint32
}

type pipelineShaderStageCreateInfo struct {
	head
	flags, stage       uint32
	module             uintptr
	name               *byte
	specializationInfo *specializationInfo
}

type computePipelineCreateInfo struct {
	head
	flags              uint32
	stage              pipelineShaderStageCreateInfo
	layout             uintptr
	basePipelineHandle uintptr
	basePipelineIndex  int32
}

type commandPoolCreateInfo struct {
	head
	flags, queueFamilyIndex uint32
}

type commandBufferAllocateInfo struct {
	head
	commandPool               uintptr
	level, commandBufferCount uint32
}

type commandBufferBeginInfo struct {
	head
	flags           uint32
	inheritanceInfo unsafe.Pointer
}

type submitInfo struct {
	head
	waitSemaphoreCount   uint32
	waitSemaphores       unsafe.Pointer
	waitDstStageMask     unsafe.Pointer
	commandBufferCount   uint32
	commandBuffers       *uintptr
	signalSemaphoreCount uint32
	signalSemaphores     unsafe.Pointer
}

type fenceCreateInfo struct {
	head
	flags uint32
}

type memoryBarrier struct {
	head
	srcAccessMask, dstAccessMask uint32
}

type bufferCopy struct{ srcOffset, dstOffset, size uint64 }

// Bits and values of enumerations.
const (
	queueCompute = 2

	memoryDeviceLocal  = 1
	memoryHostVisible  = 2
	memoryHostCoherent = 4
	memoryHostCached   = 8
	heapDeviceLocal    = 1

	usageTransferSrc   = 1
	usageTransferDst   = 2
	usageStorage       = 0x20
	usageDeviceAddress = 0x20000

	componentFloat16 = 0
	componentFloat32 = 1
	scopeSubgroup    = 3
	fullSubgroups    = 2 // of a shader stage

	allocateDeviceAddress = 2
	stageCompute          = 0x20
	bindCompute           = 1
	poolReset             = 2 // command buffers are reset one by one
	beginOnce             = 1

	pipelineCompute  = 0x800
	pipelineTransfer = 0x1000
	pipelineHost     = 0x4000
	accessShaderRead = 0x20
	accessShaderWrit = 0x40
	accessTransferR  = 0x800
	accessTransferW  = 0x1000
	accessHostRead   = 0x2000
)

// cString is a text as C wants it.
func cString(s string) *byte { return unsafe.SliceData(append([]byte(s), 0)) }

// cStrings is an array of them.
func cStrings(s []string) **byte {
	out := make([]*byte, len(s))
	for i := range s {
		out[i] = cString(s[i])
	}
	return unsafe.SliceData(out)
}

// goString is the text before the first zero.
func goString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
