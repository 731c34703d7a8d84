package vulkan

import (
	"cmp"
	"fmt"
	"slices"
	"unsafe"
)

// FeatureMatrix and FeatureLanes are what products on matrix units need; a device without them has none, and lacks nothing.
const (
	FeatureMatrix = "VK_KHR_cooperative_matrix"
	FeatureLanes  = "VK_EXT_subgroup_size_control"
)

// Matrix is the shape of the products that a device's matrix units compute at once, of float16 with sums in float32:
// [M, K] times [K, N]. Zeros: there are none that Leo can use.
type Matrix struct {
	M int `json:"m"`
	N int `json:"n"`
	K int `json:"k"`
}

func (m Matrix) String() string { return fmt.Sprintf("%d×%d×%d", m.M, m.N, m.K) }

// matrixUnits finds the shape, and whether subgroups can be held to one size, which it needs.
func (i *instance) matrixUnits(p *physical, o Options) Matrix {
	for _, name := range []string{FeatureMatrix, FeatureLanes} {
		if slices.Contains(o.Without, name) || !i.hasExtension(p.handle, name) {
			return Matrix{}
		}
	}
	f := newMatrixFeatures()
	features := &physicalDeviceFeatures2{head: head{typeFeatures2, unsafe.Pointer(&f.v12)}}
	i.call("vkGetPhysicalDeviceFeatures2", p.handle, uintptr(unsafe.Pointer(features)))
	lanes := &physicalDeviceSubgroupSizeControlProperties{head: head{sType: typeSubgroupSizeProperties}}
	props := &physicalDeviceProperties2{head: head{typeProperties2, unsafe.Pointer(lanes)}}
	i.call("vkGetPhysicalDeviceProperties2", p.handle, uintptr(unsafe.Pointer(props)))
	if f.matrix.cooperativeMatrix == 0 || f.lanes.subgroupSizeControl == 0 || f.lanes.computeFullSubgroups == 0 ||
		f.v12.shaderFloat16 == 0 || f.v12.vulkanMemoryModel == 0 || f.v12.vulkanMemoryModelDeviceScope == 0 ||
		lanes.requiredSubgroupSizeStages&stageCompute == 0 {
		return Matrix{}
	}
	return bestMatrix(i.matrixShapes(p.handle))
}

// bestMatrix chooses the largest shape of float16 with sums in float32 whose sides fit tiles of 16.
func bestMatrix(shapes []cooperativeMatrixProperties) (best Matrix) {
	for _, s := range shapes {
		if s.aType != componentFloat16 || s.bType != componentFloat16 || s.cType != componentFloat32 || s.resultType != componentFloat32 ||
			s.scope != scopeSubgroup || s.saturatingAccumulation != 0 || s.mSize == 0 || s.nSize == 0 || s.kSize == 0 ||
			16%s.mSize != 0 || 16%s.nSize != 0 || 16%s.kSize != 0 {
			continue
		}
		m := Matrix{int(s.mSize), int(s.nSize), int(s.kSize)}
		if cmp.Or(cmp.Compare(m.M*m.N*m.K, best.M*best.N*best.K), cmp.Compare(m.K, best.K), cmp.Compare(m.M, best.M)) > 0 {
			best = m
		}
	}
	return best
}

// matrixShapes lists what the driver offers.
func (i *instance) matrixShapes(device uintptr) []cooperativeMatrixProperties {
	const ask = "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"
	n := new(uint32)
	if i.fn(ask) == 0 || i.check(ask, device, uintptr(unsafe.Pointer(n)), 0) != nil || *n == 0 {
		return nil
	}
	shapes := make([]cooperativeMatrixProperties, *n)
	for k := range shapes {
		shapes[k].sType = typeMatrixProperties
	}
	if i.check(ask, device, uintptr(unsafe.Pointer(n)), uintptr(unsafe.Pointer(unsafe.SliceData(shapes)))) != nil {
		return nil
	}
	return shapes[:*n]
}

// matrixFeatures is the chain of what matrix units need.
type matrixFeatures struct {
	v12    physicalDeviceVulkan12Features
	lanes  physicalDeviceSubgroupSizeControlFeatures
	matrix physicalDeviceCooperativeMatrixFeatures
}

func newMatrixFeatures() *matrixFeatures {
	f := &matrixFeatures{}
	f.matrix.sType = typeMatrixFeatures
	f.lanes.head = head{typeSubgroupSizeFeatures, unsafe.Pointer(&f.matrix)}
	f.v12.head = head{typeVulkan12Features, unsafe.Pointer(&f.lanes)}
	return f
}
