package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Place is how many processors a rank has.
type Place struct {
	CPUs    int // it may run on; 0 where that is not known
	Ranks   int // on these processors, this one included
	Threads int // that it should compute with: its share
	Online  int // processors of the machine; 0 where that is not known
}

// Place says what this rank may use. Go sets GOMAXPROCS to the processors that a process may run on: right for a rank
// that its launcher binds, too many for one of several that share them. A program sets it to Threads before it makes
// its workers, unless the user has set it.
func (c *Comm) Place() Place {
	mine := c.seats[c.rank]
	p := Place{Ranks: 1, Online: countCPUs(onlineCPUs())}
	own := parseCPUs(mine.CPUs)
	p.CPUs = len(own)
	for r, s := range c.seats {
		if r == c.rank || !s.sameMachine(mine) {
			continue
		}
		if overlap(own, parseCPUs(s.CPUs)) {
			p.Ranks++
		}
	}
	p.Threads = max(1, p.CPUs/p.Ranks)
	return p
}

// Crowded says that ranks which each compute with so many threads have fewer processors together than threads, or "".
func (p Place) Crowded(threads int) string {
	if p.CPUs == 0 || p.Ranks*threads <= p.CPUs {
		return ""
	}
	return fmt.Sprintf("%d ranks of %d threads share %d processors: they wait for each other's turns, and are slower than with %d",
		p.Ranks, threads, p.CPUs, p.Threads)
}

// Here is how many ranks of the group run on this machine, this one included.
func (c *Comm) Here() int {
	mine, n := c.seats[c.rank], 0
	for _, s := range c.seats {
		if s.sameMachine(mine) {
			n++
		}
	}
	return n
}

func (s Seat) sameMachine(other Seat) bool {
	return s.Machine == other.Machine && (s.Machine != "" || s.Node == other.Node)
}

// odd says what a user probably did not want, or "".
func (p Place) odd() string {
	switch {
	case p.CPUs == 0:
		return ""
	case p.Ranks > p.CPUs:
		return fmt.Sprintf("%d ranks share %d processors: each waits for the others' turns", p.Ranks, p.CPUs)
	case p.Ranks == 1 && p.CPUs == 1 && p.Online > 1:
		return fmt.Sprintf("this rank is bound to one processor of the machine's %d", p.Online)
	}
	return ""
}

// thisSeat describes this process.
func thisSeat() Seat {
	node, err := os.Hostname()
	if err != nil || node == "" {
		node = "unknown"
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // only on Linux
	space, _ := os.Readlink("/proc/self/ns/pid")
	return Seat{Node: node, Machine: strings.TrimSpace(string(boot)), PIDs: space, PID: os.Getpid(), CPUs: allowedCPUs()}
}

// onlineCPUs lists the machine's processors, "" where the system does not say.
func onlineCPUs() string {
	list, _ := os.ReadFile("/sys/devices/system/cpu/online")
	return strings.TrimSpace(string(list))
}

func countCPUs(list string) int { return len(parseCPUs(list)) }

// parseCPUs reads a list such as "0-3,8". What is no list is empty.
func parseCPUs(list string) map[int]bool {
	set := map[int]bool{}
	for part := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 0 || b > 1<<16 {
			continue
		}
		for i := a; i <= b; i++ {
			set[i] = true
		}
	}
	return set
}

func overlap(a, b map[int]bool) bool {
	for i := range a {
		if b[i] {
			return true
		}
	}
	return false
}
