package train

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/zeebo/xxh3"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/device/split"
	"leolm/infer"
	"leolm/llama"
)

// TensorError says that ranks cannot form teams that share the model.
type TensorError struct {
	Tensor int // parallel.tensor
	Ranks  int // of the run; 0 where the model is the reason
	Heads  int // of keys and values
}

func (e *TensorError) Error() string {
	if e.Ranks > 0 {
		return fmt.Sprintf("parallel.tensor: %d ranks cannot form groups of %d that share every layer", e.Ranks, e.Tensor)
	}
	return fmt.Sprintf("parallel.tensor: %d ranks cannot share %d heads of keys and values in training: it takes at most %d ranks", e.Tensor, e.Heads, e.Heads)
}

// TeamDriftError says that ranks which share a model have different values of what must be the same: they do not compute alike.
type TeamDriftError struct {
	What  string
	Ranks [2]int
	Value [2]string
}

func (e *TeamDriftError) Error() string {
	return fmt.Sprintf("%s is %s on rank %d and %s on rank %d, which share a model and must compute alike: are their processors or programs different?",
		e.What, e.Value[0], e.Ranks[0], e.Value[1], e.Ranks[1])
}

// divide makes teams of n ranks that follow each other.
func (r *ranks) divide(ctx context.Context, n int) error {
	if r.world.Size()%n != 0 {
		return &TensorError{Tensor: n, Ranks: r.world.Size()}
	}
	d, ok := r.world.(Divider)
	if !ok {
		return errors.New("parallel.tensor: these ranks cannot form groups")
	}
	var err error
	if r.team, err = d.Divide(ctx, r.world.Rank()/n); err != nil {
		return err
	}
	if r.Comm, err = d.Divide(ctx, r.world.Rank()%n); err != nil {
		return err
	}
	r.parts = r.Size()
	return nil
}

// ofTeams takes the values of all ranks, which are the same within a team, for those of the teams.
func (r *ranks) ofTeams(what string, all []float64) ([]float64, error) {
	n := r.team.Size()
	var out []float64
	for rank, v := range all {
		first := all[rank/n*n]
		if math.Float64bits(v) != math.Float64bits(first) {
			return nil, &TeamDriftError{what, [2]int{rank / n * n, rank}, [2]string{fmt.Sprint(first), fmt.Sprint(v)}}
		}
		if rank%n == 0 {
			out = append(out, v)
		}
	}
	return out, nil
}

// checkTensor refuses teams of n ranks for a model.
func checkTensor(m *checkpoint.Config, n int) (split.Layout, error) {
	if n > m.KVHeads {
		return split.Layout{}, &TensorError{Tensor: n, Heads: m.KVHeads}
	}
	layout, err := llama.Split(*m, n)
	if err != nil {
		return layout, fmt.Errorf("parallel.tensor: %w", err)
	}
	// Caches are made for the trained model, also when another one was loaded last.
	layout.KVHeads = func(heads int) split.Cut { return split.Even(heads, n, 1) }
	return layout, nil
}

// useLayout says how the weights of the next model are cut.
func useLayout(s *split.Device, m *checkpoint.Config, n int) error {
	layout, err := checkTensor(m, n)
	if err != nil {
		return err
	}
	s.Use(layout)
	return nil
}

// hasPart reports whether this rank lacks weights that others have.
func (t *Trainer) hasPart() bool { return t.pool != nil || t.split != nil }

// part returns what this rank has of a weight, the device that has it, and where it begins.
func (t *Trainer) part(w device.Weight) (device.Device, device.Weight, int) {
	if t.split == nil {
		return t.dev, w, 0
	}
	part, from := t.split.Part(w)
	return t.split.Below(), part, from
}

// stopped is ctx.Err(), on all ranks of a team if on one.
func (t *Trainer) stopped(ctx context.Context) error {
	if t.split == nil {
		return ctx.Err()
	}
	var mine []byte
	if ctx.Err() != nil {
		mine = []byte{1}
	}
	all, err := t.ranks.team.Gather(context.WithoutCancel(ctx), mine)
	for _, b := range all {
		if len(b) > 0 {
			return context.Canceled
		}
	}
	return err
}

// sameWithinTeam makes sure that what every rank of a team has whole, such as norms, is the same on all.
func (t *Trainer) sameWithinTeam(ctx context.Context) error {
	if t.split == nil {
		return nil
	}
	var prints []byte
	var names []string
	for _, p := range t.sub.params {
		if t.split.IsCut(p.Weight) {
			continue
		}
		values := make([]float32, p.Weight.Rows()*p.Weight.Cols())
		t.dev.ReadWeight(p.Weight, values)
		h := xxh3.New()
		if err := binary.Write(h, binary.LittleEndian, values); err != nil {
			return err
		}
		prints, names = binary.LittleEndian.AppendUint64(prints, h.Sum64()), append(names, p.Name)
	}
	all, err := t.ranks.team.Gather(ctx, prints)
	if err != nil {
		return err
	}
	for rank, theirs := range all {
		for i, name := range names {
			a, b := binary.LittleEndian.Uint64(all[0][8*i:]), binary.LittleEndian.Uint64(theirs[8*i:])
			if first := t.ranks.world.Rank() - t.ranks.team.Rank(); a != b {
				err = errors.Join(err, &TeamDriftError{"the fingerprint of " + name, [2]int{first, first + rank}, [2]string{hexSum(a), hexSum(b)}})
			}
		}
	}
	return t.ranks.failed(ctx, err)
}

// writeTensors writes a file of tensors. Those that a team has in parts, its ranks gather for the first of them, which writes.
func (t *Trainer) writeTensors(path string, tensors []checkpoint.Output) error {
	if t.split == nil {
		return checkpoint.WriteSafetensors(path, nil, tensors)
	}
	taken, err := 0, error(nil)
	if t.ranks.team.Rank() == 0 {
		for i := range tensors {
			write := tensors[i].Write
			tensors[i].Write = func(w io.Writer) error {
				taken++
				return write(w)
			}
		}
		err = checkpoint.WriteSafetensors(path, nil, tensors)
	}
	for _, o := range tensors[taken:] { // the others', and what the disk did not take
		err = errors.Join(err, o.Write(io.Discard))
	}
	return err
}

// What the first rank of a team leads the others in. A message is the kind and what belongs to it.
const (
	leadRead   = iota + 1 // the number of a weight, which all gather
	leadEngine            // options of an engine
	leadStep              // the number of an engine, and its message
	leadEnd
)

// team is what the ranks of a team do while its first one does something by itself.
type team struct {
	t       *Trainer
	engines []*infer.Engine // that follow
	opened  int             // of the leader
	err     error
}

// onFirstTeam is onFirst for what reads weights or computes: the other ranks of the first team help.
func (t *Trainer) onFirstTeam(f func() error) error {
	if t.ranks.Rank() != 0 {
		return nil
	}
	return t.led(f)
}

// led runs f on the first rank of each team. The others take part when it reads weights that are cut, or runs an engine.
func (t *Trainer) led(f func() error) error {
	if t.split == nil {
		return f()
	}
	g := &team{t: t}
	if t.ranks.team.Rank() > 0 {
		return g.follow()
	}
	t.team = g
	t.split.OnRead(func(number int) { g.tell(leadRead, binary.AppendUvarint(nil, uint64(number))) })
	err := f()
	t.split.OnRead(nil)
	t.team = nil
	g.tell(leadEnd, nil)
	return errors.Join(err, g.err, t.split.Err())
}

// tell gives the others a message.
func (g *team) tell(kind byte, rest []byte) {
	if g.err == nil {
		_, g.err = g.t.ranks.team.Gather(context.Background(), append([]byte{kind}, rest...))
	}
}

// follow does what the first rank leads in, until it ends. A rank that cannot go on ends all, since they would wait for it.
func (g *team) follow() error {
	for {
		all, err := g.t.ranks.team.Gather(context.Background(), nil)
		if err != nil {
			return err
		}
		if len(all[0]) == 0 {
			return errors.New("a message of the team's first rank that makes no sense")
		}
		if all[0][0] == leadEnd {
			return g.t.split.Err()
		}
		if err = g.take(all[0][0], all[0][1:]); err != nil {
			if world, ok := g.t.ranks.world.(interface{ Abort(err error) }); ok {
				world.Abort(err)
			}
			return err
		}
	}
}

// take does this rank's part of what the first leads in.
func (g *team) take(kind byte, rest []byte) error {
	switch kind {
	case leadEngine:
		var opt infer.Options
		if err := json.Unmarshal(rest, &opt); err != nil {
			return err
		}
		eng, err := infer.NewEngine(g.t.dev, g.t.sub.model, opt)
		g.engines = append(g.engines, eng)
		_, err = g.agree(err)
		return err
	case leadRead, leadStep:
		number, n := binary.Uvarint(rest)
		switch {
		case n <= 0:
		case kind == leadRead:
			return g.t.split.ReadNumbered(int(number))
		case number < uint64(len(g.engines)) && g.engines[number] != nil:
			return errors.Join(g.engines[number].Follow(rest[n:]), g.t.split.Err())
		}
	}
	return errors.New("a message of the team's first rank that makes no sense")
}

// agree gives all ranks of a team the first failure of one, as text; err is that of the group.
func (g *team) agree(failed error) (text string, err error) {
	var mine []byte
	if failed != nil {
		mine = []byte(failed.Error())
	}
	all, err := g.t.ranks.team.Gather(context.Background(), mine)
	for _, b := range all {
		if len(b) > 0 && text == "" {
			text = string(b)
		}
	}
	return text, err
}

// newEngine makes an engine for the trained model, whose adapters and weights m has.
func (t *Trainer) newEngine(m *llama.Model, opt infer.Options) (*infer.Engine, error) {
	g := t.team
	if g == nil {
		return infer.NewEngine(t.dev, m, opt)
	}
	text, err := json.Marshal(opt)
	if err != nil {
		return nil, err
	}
	g.tell(leadEngine, text)
	opt.Peers = &peers{g, g.opened}
	g.opened++
	eng, err := infer.NewEngine(t.dev, m, opt)
	other, failed := g.agree(err)
	switch {
	case err != nil || failed != nil:
		return nil, errors.Join(err, failed)
	case other != "":
		return nil, errors.New(other)
	}
	return eng, nil
}

// peers are the engines of the other ranks of a team.
type peers struct {
	g      *team
	number int
}

// Lead implements infer.Peers.
func (p *peers) Lead(message []byte, _ int, f func()) error {
	p.g.tell(leadStep, append(binary.AppendUvarint(nil, uint64(p.number)), message...))
	if p.g.err == nil {
		f()
	}
	return errors.Join(p.g.err, p.g.t.split.Err())
}
