package loader

import (
	"fmt"
	"slices"

	"leolm/chat"
	"leolm/dataset/shard"
)

// LossWeights is the weight of a predicted token by its role. A token's
// weight counts where the token is the target, not where it is the input.
type LossWeights [2 * shard.Frame]float32

// AssistantLoss counts the assistant's turns only, with their header and end
// marker, as LeoLM's training did (docs/leolm.md#fine-tuning); with a template that marks
// what is generated, that alone.
func AssistantLoss() LossWeights { return LossWeights{uint8(chat.Assistant): 1} }

// AllLoss counts every token but those of muted turns.
func AllLoss() LossWeights {
	var w LossWeights
	for i := range w {
		w[i] = 1
	}
	return w
}

// RoleLoss sets the weights of the named roles ("system", "user",
// "assistant", "context", "tool"); roles not named weigh nothing.
func RoleLoss(weights map[string]float64) (LossWeights, error) {
	var w LossWeights
	for name, x := range weights {
		role, err := chat.ParseRole(name)
		if err != nil {
			return w, fmt.Errorf("loss weight: %w", err)
		}
		if !(x >= 0 && x < 1e6) {
			return w, fmt.Errorf("loss weight of role %s: %v, want a number from 0", name, x)
		}
		w[role] = float32(x)
	}
	return w, nil
}

// Of is the weight of a target with this role.
func (w *LossWeights) Of(role uint8) float32 {
	if int(role) < len(w) {
		return w[role]
	}
	return 0
}

// Window is one row of training input: one sample, or several packed behind
// each other. Position i holds input IDs[i], whose correct continuation is
// Targets[i] with loss weight Weights[i]. A sample of n ids takes n-1
// positions: its last id is only a target, its first only an input, so
// nothing is ever predicted across a border.
//
// There is no padding: attention and positions follow from Docs. Use Pad for
// rectangles.
type Window struct {
	IDs     []int32
	Targets []int32
	Weights []float32
	// Docs are the positions where documents (samples, or the documents inside
	// a sample) begin, ascending, the first 0. Attention is causal inside each,
	// and position numbers restart there.
	Docs []int32
	// Refs name the samples in the window.
	Refs []Ref
	// Cut counts ids that did not fit and were left out.
	Cut int
}

// Len is the number of positions.
func (w *Window) Len() int { return len(w.IDs) }

// Loss is the sum of the weights: the divisor of Megatron's micro-batch mean.
func (w *Window) Loss() float64 {
	sum := 0.0
	for _, x := range w.Weights {
		sum += float64(x)
	}
	return sum
}

// Positions are the position numbers, restarting at every sample.
func (w *Window) Positions() []int32 {
	out := make([]int32, len(w.IDs))
	for d, start := range w.Docs {
		end := len(out)
		if d+1 < len(w.Docs) {
			end = int(w.Docs[d+1])
		}
		for i := int(start); i < end; i++ {
			out[i] = int32(i) - start
		}
	}
	return out
}

// Append adds a sample to the window, at most limit positions of it; what is
// longer is cut at its end and counted, as Megatron does. A sample of fewer
// than two ids has nothing to predict and adds nothing.
func (w *Window) Append(ref Ref, s shard.Sample, loss *LossWeights, limit int) {
	n := len(s.IDs) - 1
	if n > limit {
		w.Cut += n - limit
		n = limit
	}
	if n <= 0 {
		return
	}
	base := int32(len(w.IDs))
	w.Refs = append(w.Refs, ref)
	w.IDs = append(w.IDs, s.IDs[:n]...)
	w.Targets = append(w.Targets, s.IDs[1:n+1]...)
	for i := 1; i <= n; i++ {
		x := float32(1)
		if s.Roles != nil {
			x = loss.Of(s.Roles[i])
		}
		w.Weights = append(w.Weights, x)
	}
	if s.Docs == nil {
		w.Docs = append(w.Docs, base)
	}
	for _, d := range s.Docs {
		// The first token of a document is no continuation of the one before.
		if d > 0 && int(d) <= n {
			w.Weights[base+d-1] = 0
		}
		if int(d) < n {
			w.Docs = append(w.Docs, base+d)
		}
	}
}

// Pad fills windows on the right to their longest length rounded up to a
// multiple, with weight 0, and returns that length. Megatron's multiple is 16.
func Pad(windows []Window, pad int32, multiple int) int {
	longest := 0
	for i := range windows {
		longest = max(longest, windows[i].Len())
	}
	if multiple > 1 {
		longest = (longest + multiple - 1) / multiple * multiple
	}
	for i := range windows {
		w := &windows[i]
		for len(w.IDs) < longest {
			w.IDs = append(w.IDs, pad)
			w.Targets = append(w.Targets, pad)
			w.Weights = append(w.Weights, 0)
		}
	}
	return longest
}

// packer distributes samples over windows: best fit, longest sample first.
type packer struct {
	limit int
	bins  [][]Ref
	room  []int
	// byRoom lists the bins with exactly so many free positions.
	byRoom [][]int
}

// pack groups samples into windows of at most limit positions and returns
// the groups in the order of their first sample. Positions of a sample are
// its length less one; longer ones fill a window alone.
func pack(refs []Ref, length func(Ref) int, limit int) [][]Ref {
	type item struct{ at, size int }
	items := make([]item, 0, len(refs))
	for i, r := range refs {
		if size := min(length(r)-1, limit); size > 0 {
			items = append(items, item{i, size})
		}
	}
	slices.SortStableFunc(items, func(a, b item) int { return b.size - a.size })
	p := packer{limit: limit, byRoom: make([][]int, limit+1)}
	first := make([]int, 0, len(items))
	for _, it := range items {
		bin := p.put(it.size)
		p.bins[bin] = append(p.bins[bin], refs[it.at])
		if len(p.bins[bin]) == 1 {
			first = append(first, it.at)
		}
	}
	order := make([]int, len(p.bins))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return first[a] - first[b] })
	out := make([][]Ref, len(order))
	for i, bin := range order {
		out[i] = p.bins[bin]
	}
	return out
}

// put finds the fullest bin with room for size, or opens one.
func (p *packer) put(size int) int {
	for room := size; room < p.limit; room++ {
		if n := len(p.byRoom[room]); n > 0 {
			bin := p.byRoom[room][n-1]
			p.byRoom[room] = p.byRoom[room][:n-1]
			p.room[bin] -= size
			p.byRoom[room-size] = append(p.byRoom[room-size], bin)
			return bin
		}
	}
	bin := len(p.bins)
	p.bins = append(p.bins, nil)
	p.room = append(p.room, p.limit-size)
	p.byRoom[p.limit-size] = append(p.byRoom[p.limit-size], bin)
	return bin
}
