//go:build novulkan || nodl

package vulkan

import "embed"

// shaders are not part of this build, which opens no device.
var shaders embed.FS
