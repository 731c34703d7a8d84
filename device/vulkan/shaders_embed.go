//go:build !novulkan && !nodl

package vulkan

import "embed"

// shaders are the compiled shaders.
//
//go:embed shaders/*.spv
var shaders embed.FS
