//go:build !novulkan && !nodl

package vulkan

import "embed"

// shaders are the compiled shaders.
//
//go:embed shaders/*.spv shaders/matrix/*.spv
var shaders embed.FS
