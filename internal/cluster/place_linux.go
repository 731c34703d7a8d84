package cluster

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// allowedCPUs lists the processors that this process may run on, such as "0-3,8".
func allowedCPUs() string {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return ""
	}
	var b strings.Builder
	for i := 0; i < 64*len(set); i++ {
		if !set.IsSet(i) {
			continue
		}
		from := i
		for i+1 < 64*len(set) && set.IsSet(i+1) {
			i++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		if from == i {
			fmt.Fprintf(&b, "%d", from)
		} else {
			fmt.Fprintf(&b, "%d-%d", from, i)
		}
	}
	return b.String()
}
