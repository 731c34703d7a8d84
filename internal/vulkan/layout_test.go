package vulkan

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// layouts are the structures that drivers read and write, by their names in C.
var layouts = map[string]any{
	"VkApplicationInfo": applicationInfo{}, "VkInstanceCreateInfo": instanceCreateInfo{}, "VkPhysicalDeviceLimits": physicalDeviceLimits{},
	"VkPhysicalDeviceProperties": physicalDeviceProperties{}, "VkPhysicalDeviceProperties2": physicalDeviceProperties2{},
	"VkPhysicalDeviceVulkan11Properties": physicalDeviceVulkan11Properties{}, "VkPhysicalDeviceVulkan12Properties": physicalDeviceVulkan12Properties{},
	"VkPhysicalDeviceVulkan11Features": physicalDeviceVulkan11Features{}, "VkPhysicalDeviceVulkan12Features": physicalDeviceVulkan12Features{},
	"VkPhysicalDeviceFeatures2": physicalDeviceFeatures2{}, "VkMemoryType": memoryType{}, "VkMemoryHeap": memoryHeap{},
	"VkPhysicalDeviceMemoryProperties": physicalDeviceMemoryProperties{}, "VkPhysicalDeviceMemoryProperties2": physicalDeviceMemoryProperties2{},
	"VkPhysicalDeviceMemoryBudgetPropertiesEXT": physicalDeviceMemoryBudgetProperties{}, "VkExtensionProperties": extensionProperties{},
	"VkQueueFamilyProperties": queueFamilyProperties{}, "VkDeviceQueueCreateInfo": deviceQueueCreateInfo{}, "VkDeviceCreateInfo": deviceCreateInfo{},
	"VkMemoryRequirements": memoryRequirements{}, "VkBufferCreateInfo": bufferCreateInfo{}, "VkMemoryAllocateFlagsInfo": memoryAllocateFlagsInfo{},
	"VkMemoryAllocateInfo": memoryAllocateInfo{}, "VkBufferDeviceAddressInfo": bufferDeviceAddressInfo{}, "VkShaderModuleCreateInfo": shaderModuleCreateInfo{},
	"VkPushConstantRange": pushConstantRange{}, "VkPipelineLayoutCreateInfo": pipelineLayoutCreateInfo{}, "VkSpecializationMapEntry": specializationMapEntry{},
	"VkSpecializationInfo": specializationInfo{}, "VkPipelineShaderStageCreateInfo": pipelineShaderStageCreateInfo{},
	"VkComputePipelineCreateInfo": computePipelineCreateInfo{}, "VkCommandPoolCreateInfo": commandPoolCreateInfo{},
	"VkCommandBufferAllocateInfo": commandBufferAllocateInfo{}, "VkCommandBufferBeginInfo": commandBufferBeginInfo{}, "VkSubmitInfo": submitInfo{},
	"VkPhysicalDeviceSubgroupSizeControlFeatures":         physicalDeviceSubgroupSizeControlFeatures{},
	"VkPhysicalDeviceSubgroupSizeControlProperties":       physicalDeviceSubgroupSizeControlProperties{},
	"VkPipelineShaderStageRequiredSubgroupSizeCreateInfo": pipelineShaderStageRequiredSubgroupSizeCreateInfo{},
	"VkPhysicalDeviceCooperativeMatrixFeaturesKHR":        physicalDeviceCooperativeMatrixFeatures{},
	"VkCooperativeMatrixPropertiesKHR":                    cooperativeMatrixProperties{},
	"VkFenceCreateInfo":                                   fenceCreateInfo{}, "VkMemoryBarrier": memoryBarrier{}, "VkBufferCopy": bufferCopy{},
}

// fieldOf finds the field that C calls name: pointers begin with p there.
func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	if f, ok := t.FieldByName(name); ok {
		return f, true
	}
	name = strings.TrimLeft(name, "p")
	return t.FieldByName(strings.ToLower(name[:1]) + name[1:])
}

// TestLayout: testdata/layout.c prints what a C compiler makes of the header.
func TestLayout(t *testing.T) {
	if strconv.IntSize != 64 {
		t.Skip("the layout is that of 64-bit machines")
	}
	golden, err := os.ReadFile(filepath.Join("testdata", "layout.txt"))
	if err != nil {
		t.Fatal(err)
	}
	sizes := 0
	for s := bufio.NewScanner(bytes.NewReader(golden)); s.Scan(); {
		what, text, _ := strings.Cut(s.Text(), " ")
		want, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		name, field, isField := strings.Cut(what, ".")
		v, ok := layouts[name]
		if !ok {
			t.Errorf("%s is not among the layouts", name)
			continue
		}
		typ := reflect.TypeOf(v)
		if !isField {
			if sizes++; int(typ.Size()) != want {
				t.Errorf("%s has %d bytes, want %d", name, typ.Size(), want)
			}
			continue
		}
		if f, ok := fieldOf(typ, field); !ok || int(f.Offset) != want {
			t.Errorf("%s is at %d, want %d", what, f.Offset, want)
		}
	}
	if sizes != len(layouts) {
		t.Errorf("%d structures have golden sizes, there are %d", sizes, len(layouts))
	}
}

// TestLayoutOfCompiler holds the goldens against this machine's header, where there is one.
func TestLayoutOfCompiler(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "layout.txt"))
	if err != nil {
		t.Fatal(err)
	}
	cc, err := exec.LookPath("cc")
	if _, missing := os.Stat("/usr/include/vulkan/vulkan_core.h"); err != nil || missing != nil {
		t.Skip("no C compiler, or no vulkan_core.h (Debian: libvulkan-dev)")
	}
	program := filepath.Join(t.TempDir(), "layout")
	if out, err := exec.Command(cc, "-o", program, filepath.Join("testdata", "layout.c")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := exec.Command(program).Output()
	if err != nil || !bytes.Equal(got, golden) {
		t.Errorf("the compiler says otherwise: %v\n%s", err, got)
	}
}
