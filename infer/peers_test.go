package infer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"leolm/checkpoint"
	"leolm/device/cpu"
	"leolm/device/split"
	"leolm/internal/cluster"
	"leolm/llama"
	"leolm/sample"
	"leolm/tensor"
)

// like70B has the heads of a model of 70 billion parameters, and is small otherwise.
var like70B = checkpoint.Config{
	Architecture: "llama", HiddenSize: 512, IntermediateSize: 512, Layers: 2, Heads: 64, KVHeads: 8, HeadDim: 8,
	VocabSize: 501, MaxPositions: 1024, RMSEps: 1e-5, RopeTheta: 10000, BOS: 1, EOS: []int{2}, PAD: -1,
}

// randomModel writes a model of random weights with a standard deviation of std.
func randomModel(t testing.TB, cfg checkpoint.Config, std float64) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	var sources []checkpoint.Source
	for _, s := range cfg.TensorShapes() {
		n, err := s.Shape.Elements()
		if err != nil {
			t.Fatal(err)
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() * std)
			if len(s.Shape) == 1 {
				v[i]++
			}
		}
		sources = append(sources, checkpoint.Source{Name: s.Name, Shape: s.Shape, From: checkpoint.F32Rows{Data: v, Cols: s.Shape.Cols()}})
	}
	dir := filepath.Join(t.TempDir(), "model")
	if err := checkpoint.WriteHF(dir, cfg, sources, checkpoint.HFOptions{DType: tensor.F32}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// peers tells the other ranks of a group.
type peers struct {
	group *cluster.Comm
	dev   *split.Device
}

func (p peers) Lead(message []byte, _ int, f func()) error {
	if _, err := p.group.Share(context.Background(), 0, message); err != nil {
		return err
	}
	f()
	return p.dev.Err()
}

// lead runs use on rank 0 of so many, which share a model. Other ranks follow. It returns the bytes of weights of each rank.
func lead(t *testing.T, ranks int, dir string, dt tensor.DType, use func(e *Engine)) []int {
	t.Helper()
	comms, err := cluster.Local(ranks, cluster.Faults{}, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bytes := make([]int, ranks)
	var all sync.WaitGroup
	for rank, comm := range comms {
		all.Go(func() {
			if err := leadRank(t.Context(), comm, dir, dt, &bytes[rank], use); err != nil {
				t.Errorf("rank %d: %v", rank, err)
				comm.Abort(err)
			}
		})
	}
	all.Wait()
	return bytes
}

func leadRank(ctx context.Context, comm *cluster.Comm, dir string, dt tensor.DType, bytes *int, use func(e *Engine)) error {
	inner, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		return err
	}
	defer inner.Close()
	c, err := checkpoint.Open(dir)
	if err != nil {
		return err
	}
	defer c.Close()
	layout, err := llama.Split(c.Config, comm.Size())
	if err != nil {
		return err
	}
	dev := split.New(inner, cluster.NewShared(comm), layout)
	m, err := llama.Load(ctx, dev, c, llama.LoadOptions{Convert: func(string, tensor.DType) tensor.DType { return dt }})
	if err != nil {
		return err
	}
	*bytes = m.WeightBytes()
	opt := Options{CacheType: tensor.F16, Sessions: 12, PrefillChunk: 100}
	if comm.Rank() > 0 {
		e, err := NewEngine(dev, m, opt)
		for err == nil {
			var message []byte
			if message, err = comm.Share(ctx, 0, nil); err != nil || len(message) == 0 {
				break
			}
			err = e.Follow(message)
		}
		return err
	}
	opt.Peers = peers{comm, dev}
	e, err := NewEngine(dev, m, opt)
	if err != nil {
		return err
	}
	use(e)
	_, err = comm.Share(ctx, 0, nil)
	return err
}

// everything uses an engine in all ways that compute, and collects the numbers.
func everything(t *testing.T, e *Engine) (out []float32) {
	ctx := context.Background()
	ids := make([]int32, 300)
	for i := range ids {
		ids[i] = int32(i * i % 501)
	}
	s := e.NewSession()
	defer s.Close()
	logits, err := e.Prefill(ctx, s, ids, nil)
	if err != nil {
		t.Error(err)
		return nil
	}
	out = append(out, logits...)
	fork, err := s.Fork()
	if err != nil {
		t.Error(err)
		return nil
	}
	defer fork.Close()
	if logits, err = e.Step([]Feed{{s, []int32{5}, WantLast}, {fork, []int32{6, 7, 8}, WantAll}}); err != nil {
		t.Error(err)
		return nil
	}
	out = append(out, logits...)
	fresh := e.NewSession()
	defer fresh.Close()
	scores, err := e.Score(ctx, fresh, ids[:150])
	if err != nil {
		t.Error(err)
		return nil
	}
	out = append(out, scores...)
	embedded, err := e.Embed(ctx, ids[:120])
	if err != nil {
		t.Error(err)
	}
	out = append(out, embedded...)
	return append(out, scheduledNumbers(ctx, t, e)...)
}

// scheduledNumbers are what a scheduler answers: sampled and greedy tokens of several requests at a time, scores, beams.
func scheduledNumbers(ctx context.Context, t *testing.T, e *Engine) (out []float32) {
	ctx, cancel := context.WithCancel(ctx)
	s := NewScheduler(e, SchedulerOptions{MaxSequences: 4})
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	defer running.Wait()
	defer cancel()
	var tickets []*Ticket
	for seed := range 3 {
		p := sample.Params{Temperature: float64(seed), Seed: uint64(seed)}
		ts, err := s.Submit(ctx, func() Text { return plain{} }, &Request{Prompt: []int32{3, 1, 4, int32(seed)}, Params: p, MaxNewTokens: 12, TopLogProbs: -1})
		if err != nil {
			t.Error(err)
			return nil
		}
		tickets = append(tickets, ts...)
	}
	for _, ticket := range tickets {
		res, err := ticket.Result()
		if err != nil {
			t.Error(err)
		}
		for _, id := range res.IDs {
			out = append(out, float32(id))
		}
	}
	found, err := s.Score(ctx, &ScoreRequest{IDs: []int32{9, 8, 7, 6, 5, 4, 3}, From: 2})
	if err != nil {
		t.Error(err)
	}
	for _, f := range found[0] {
		out = append(out, float32(f.LogProb))
	}
	beams, err := s.Beam(ctx, []int32{2, 7, 1}, sample.BeamParams{Beams: 3, LengthPenalty: 1, MaxNewTokens: 6})
	if err != nil {
		t.Error(err)
	}
	for _, b := range beams {
		out = append(out, float32(b.Score))
	}
	// An error of one request stays one of that request.
	if _, err := s.Submit(ctx, func() Text { return plain{} }, &Request{Prompt: []int32{5000}}); err == nil {
		t.Error("a token outside the vocabulary was taken")
	}
	return out
}

// Ranks that share a model compute the bits of one, whatever the weights are stored as; and each has its part of them only.
func TestRanksComputeTheBitsOfOne(t *testing.T) {
	tied := like70B
	tied.TieEmbeddings, tied.AttentionBias, tied.MLPBias = true, true, true
	few := like70B
	few.KVHeads = 2
	for name, model := range map[string]struct {
		cfg    checkpoint.Config
		ranks  []int
		dtypes []tensor.DType
	}{
		"heads of 70B": {like70B, []int{2, 4}, []tensor.DType{tensor.BF16, tensor.Q4_0}},
		"K blocks":     {like70B, []int{4}, []tensor.DType{tensor.Q4_K}},
		"odd parts":    {like70B, []int{3, 16}, []tensor.DType{tensor.F32}},
		"tied, biased": {tied, []int{4}, []tensor.DType{tensor.Q4_0}},
		"copied keys":  {few, []int{4}, []tensor.DType{tensor.Q8_0}},
	} {
		dir := randomModel(t, model.cfg, 0.1)
		for _, dt := range model.dtypes {
			e := aloneEngine(t, dir, dt)
			want, whole := everything(t, e), e.Model().WeightBytes()
			for _, ranks := range model.ranks {
				t.Run(fmt.Sprintf("%s/%v/%d", name, dt, ranks), func(t *testing.T) {
					var got []float32
					bytes := lead(t, ranks, dir, dt, func(e *Engine) { got = everything(t, e) })
					if len(got) == 0 || !slices.Equal(got, want) {
						t.Error("results differ")
					}
					sum := 0
					for rank, n := range bytes {
						sum += n
						// Parts differ by rounding; norms, and keys with more ranks than heads, are everybody's.
						if most := whole/ranks*3/2 + 20_000; n > most {
							t.Errorf("rank %d has %d bytes of weights, of %d: more than %d", rank, n, whole, most)
						}
					}
					if sum < whole {
						t.Errorf("ranks have %d bytes of weights together, one has %d", sum, whole)
					}
				})
			}
		}
	}
}

// aloneEngine runs the model in one process.
func aloneEngine(t *testing.T, dir string, dt tensor.DType) *Engine {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dev.Close)
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m, err := llama.Load(t.Context(), dev, c, llama.LoadOptions{Convert: func(string, tensor.DType) tensor.DType { return dt }})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEngine(dev, m, Options{CacheType: tensor.F16, Sessions: 12, PrefillChunk: 100})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// recorder keeps what an engine leads in.
type recorder struct{ messages [][]byte }

func (r *recorder) Lead(message []byte, _ int, f func()) error {
	r.messages = append(r.messages, slices.Clone(message))
	f()
	return nil
}

// An engine that follows another computes what it does. Messages that are cut off or altered are errors, or passes over
// other tokens; nothing panics.
func TestFollow(t *testing.T) {
	leader, follower := testEngine(t, 1, tensor.F32, tensor.F16), testEngine(t, 1, tensor.F32, tensor.F16)
	rec := &recorder{}
	leader.opt.Peers = rec
	s := leader.NewSession()
	ids := tokens(30, 1)
	for i := range 3 {
		if _, err := leader.Step([]Feed{{s, ids[10*i : 10*i+10], WantAll}}); err != nil {
			t.Fatal(err)
		}
	}
	fork, err := s.Fork()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leader.Step([]Feed{{fork, ids[:1], WantLast}}); err != nil {
		t.Fatal(err)
	}
	if _, err := leader.Score(t.Context(), leader.NewSession(), ids); err != nil {
		t.Fatal(err)
	}
	for _, m := range rec.messages {
		if err := follower.Follow(m); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(follower.logits, leader.logits) {
		t.Error("the follower has other logits")
	}
	rng := rand.New(rand.NewPCG(1, 9))
	failed := 0
	for range 3000 {
		m := slices.Clone(rec.messages[rng.IntN(len(rec.messages))])
		if rng.IntN(2) == 0 {
			m = m[:rng.IntN(len(m))]
		} else {
			m[rng.IntN(len(m))] ^= byte(1 << rng.IntN(8))
		}
		if follower.Follow(m) != nil {
			failed++
		}
	}
	if failed < 1000 {
		t.Errorf("%d of 3000 damaged messages were errors", failed)
	}
}
