package vulkan

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maskVariable names what counts as missing, so that tests see what Leo does without it: a comma-separated list of features
// and extensions as errors name them, "loader", "devices", and "lost:N" for a device that is lost after N submissions.
const maskVariable = "LEO_VULKAN_MASK"

// Words of the mask that are no features.
const (
	maskLoader  = "loader"
	maskDevices = "devices"
	maskLost    = "lost:"
)

// masked returns o with what the environment masks.
func (o Options) masked() (Options, error) {
	text := os.Getenv(maskVariable)
	if text == "" {
		return o, nil
	}
	o.Without = slices.Clone(o.Without)
	for _, word := range strings.Split(text, ",") {
		word = strings.TrimSpace(word)
		if count, ok := strings.CutPrefix(word, maskLost); ok {
			n, err := strconv.Atoi(count)
			if err != nil || n < 1 {
				return o, fmt.Errorf("%s: %q: want %sN with a number of submissions", maskVariable, word, maskLost)
			}
			o.LoseAfter = n
			continue
		}
		o.Without = append(o.Without, word)
	}
	return o, nil
}

// without reports whether a feature counts as missing.
func (o *Options) without(name string) bool { return slices.Contains(o.Without, name) }
