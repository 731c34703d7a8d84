package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"leolm/dataset/shard"
	"leolm/device"
	"leolm/internal/cluster"
	"leolm/internal/durable"
	"leolm/internal/sysmem"
	"leolm/tensor"
)

// altered is a Comm with which something goes wrong. Each function may be nil.
type altered struct {
	Comm
	here   int
	before func(value []byte)                     // a Gather
	after  func(all [][]byte) [][]byte            // what it gave
	sum    func(ctx context.Context, v []float32) // what is summed up
}

func (a *altered) Here() int { return max(a.here, 1) }

func (a *altered) Gather(ctx context.Context, value []byte) ([][]byte, error) {
	if a.before != nil {
		a.before(value)
	}
	all, err := a.Comm.Gather(ctx, value)
	if err == nil && a.after != nil {
		all = a.after(all)
	}
	return all, err
}

func (a *altered) SumParts(ctx context.Context, dst, src []float32, parts []int) error {
	if a.sum != nil {
		a.sum(ctx, src)
	}
	return a.Comm.SumParts(ctx, dst, src, parts)
}

func (a *altered) AddParts(ctx context.Context, sum []float64, src []float32, parts []int, fresh bool) error {
	if a.sum != nil {
		a.sum(ctx, src)
	}
	return a.Comm.AddParts(ctx, sum, src, parts, fresh)
}

// onRanks opens the run on ranks, whose Comms change makes, and calls f; it returns the error of either.
func onRanks(t *testing.T, cfg *Config, size int, change func(c *cluster.Comm) Comm, f func(tr *Trainer) error) []error {
	t.Helper()
	return together(t, size, func(c *cluster.Comm) error {
		own := *cfg
		tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, change(c), nil)
		if err != nil {
			return err
		}
		defer tr.Close()
		return f(tr)
	})
}

func unchanged(c *cluster.Comm) Comm { return c }

// Local disks that are taken for a shared folder are found out at the start: parts of a checkpoint would be lost.
func TestRanksShareTheFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	for elsewhere, want := range map[bool]bool{false: true, true: false} {
		errs := together(t, 2, func(c *cluster.Comm) error {
			a := &altered{Comm: c}
			if elsewhere && c.Rank() == 1 {
				a.after = func(all [][]byte) [][]byte { // as if its folder were another one
					if bytes.HasPrefix(all[0], []byte(".leo-ranks-")) {
						all[0] = append(all[0], 'x')
					}
					return all
				}
			}
			r := &ranks{Comm: a, parts: 2}
			return r.sameFolder(t.Context(), dir, 100*time.Millisecond)
		})
		var local *NotSharedError
		var rank *RankError
		if got := errs[0] == nil && errs[1] == nil; got != want {
			t.Errorf("elsewhere %v: %v", elsewhere, errs)
		} else if !got && (!errors.As(errs[1], &local) || local.Dir != dir || !errors.As(errs[0], &rank) || rank.Rank != 1) {
			t.Errorf("%v", errs)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A rank that sees the files of a checkpoint late, as on network file systems, waits for them: it does not take it for damaged.
func TestFilesThatShowLate(t *testing.T) {
	cfg := workshop(t)
	cfg.Parallel.Sharding = "optimizer"
	whole := *cfg
	whole.Output += "-whole"
	want := outcomeOf(t, &whole, runRanks(t, &whole, 2, 0))
	steps := runRanks(t, cfg, 2, 7)
	last := filepath.Join(cfg.Output, "checkpoints", "step-00000007")
	hidden := last + "-hidden"
	var late sync.WaitGroup
	for r, err := range onRanks(t, cfg, 2, func(c *cluster.Comm) Comm {
		a := &altered{Comm: c}
		if c.Rank() == 0 { // what rank 0 has named and looked at, is gone for a while
			times := 0
			a.before = func(value []byte) {
				named := bytes.Contains(value, []byte(filepath.Base(last)))
				if (named || times == 1) && os.Rename(last, hidden) == nil {
					times++
					late.Go(func() {
						time.Sleep(100 * time.Millisecond)
						_ = os.Rename(hidden, last)
					})
				}
			}
			a.after = func(all [][]byte) [][]byte { late.Wait(); return all }
		}
		return a
	}, func(tr *Trainer) error {
		if tr.Step() != 7 {
			return fmt.Errorf("goes on from step %d", tr.Step())
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", r, err)
		}
	}
	if outcomeOf(t, cfg, append(steps, runRanks(t, cfg, 2, 0)...)) != want {
		t.Error("the run has other bits than one that was not interrupted")
	}
	start := time.Now()
	if err := eventually(t.Context(), 200*time.Millisecond, func() error { return fs.ErrNotExist }); !errors.Is(err, fs.ErrNotExist) || time.Since(start) > 10*time.Second {
		t.Errorf("what never comes: %v after %v", err, time.Since(start))
	}
}

// Weights that are no longer the same on all ranks are found out before a checkpoint of them is finished.
func TestWeightsThatDrift(t *testing.T) {
	for _, way := range []string{"changed", "unchanged"} {
		cfg := workshop(t)
		errs := onRanks(t, cfg, 2, unchanged, func(tr *Trainer) error {
			tr.objective = &stopping{tr.objective, 2, func() {
				if tr.ranks.Rank() == 1 && way == "changed" {
					p := tr.sub.params[len(tr.sub.params)-1]
					v := make([]float32, p.Weight.Rows()*p.Weight.Cols())
					tr.dev.ReadWeight(p.Weight, v)
					v[3] += 0.01
					if err := tr.dev.WriteWeight(p.Weight, v); err != nil {
						t.Error(err)
					}
				}
			}}
			_, err := tr.Run(t.Context())
			return err
		})
		if way == "unchanged" {
			if errs[0] != nil || errs[1] != nil {
				t.Error(errs)
			}
			continue
		}
		var drift *DriftError
		var rank *RankError
		if !errors.As(errs[0], &drift) || drift.Rank != 1 || drift.Step != 3 || drift.Tensor == "" || !errors.As(errs[1], &rank) || rank.Rank != 0 {
			t.Error(errs)
		}
		if done, err := committed(filepath.Join(cfg.Output, "checkpoints")); err != nil || len(done) > 0 {
			t.Errorf("finished checkpoints %v, %v", done, err)
		}
	}
}

// Ranks of one machine are refused what they would take of it together.
func TestMemoryOfNeighbors(t *testing.T) {
	available, ok := sysmem.Available()
	if !ok {
		t.Skip("the system does not say what memory it has")
	}
	var short *device.MemoryError
	if err := need(nil, "weights", 0.6*float64(available), 1); err != nil {
		t.Error(err)
	}
	if err := need(nil, "weights", 0.6*float64(available), 2); !errors.As(err, &short) || !strings.Contains(err.Error(), "weights, in each of 2 ranks on this machine,") {
		t.Error(err)
	}
	errs := onRanks(t, workshop(t), 2, func(c *cluster.Comm) Comm {
		if c.Rank() == 1 {
			return &altered{Comm: c, here: 1 << 40}
		}
		return c
	}, func(*Trainer) error { return nil })
	var rank *RankError
	if !errors.As(errs[1], &short) || !errors.As(errs[0], &rank) || rank.Rank != 1 {
		t.Error(errs)
	}
}

// A base that is another one on another machine is refused, also where all of it is trained.
func TestBaseIsTheSame(t *testing.T) {
	cfg := workshop(t)
	cfg.Schedule.Steps = 1
	runAll(t, cfg, 0)
	one := filepath.Join(cfg.Output, "model")
	second := *cfg
	second.Seed, second.Output = 8, cfg.Output+"2"
	runAll(t, &second, 0)
	link := filepath.Join(t.TempDir(), "base")
	point := func(to string) {
		_ = os.Remove(link)
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	point(one)
	own := *cfg
	own.Output, own.Model = filepath.Join(t.TempDir(), "out"), ModelConfig{Base: link}
	own.derive()
	opened := make(chan struct{})
	errs := onRanks(t, &own, 2, func(c *cluster.Comm) Comm {
		a, calls := &altered{Comm: c}, 0
		const seen = 5 // gatherings before a model is opened
		if c.Rank() == 0 {
			a.before = func([]byte) {
				if calls++; calls == seen+1 {
					close(opened)
				}
			}
			return a
		}
		a.after = func(all [][]byte) [][]byte {
			if calls++; calls == seen {
				<-opened
				point(filepath.Join(second.Output, "model"))
			}
			return all
		}
		return a
	}, func(*Trainer) error { return nil })
	for r, err := range errs {
		var differ *RanksDifferError
		if !errors.As(err, &differ) || differ.What != "model.base" {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}

// What is not a number on one rank stops or skips the step on all.
func TestNaNOnOneRank(t *testing.T) {
	for _, sharding := range []string{"none", "optimizer", "gradients", "parameters"} {
		for _, action := range []string{"stop", "skip"} {
			cfg := workshop(t)
			cfg.Parallel.Sharding, cfg.Faults.Action, cfg.Schedule.Steps = sharding, action, 4
			skipped := make([][]int, 2)
			errs := together(t, 2, func(c *cluster.Comm) error {
				own, step := *cfg, 0
				a := &altered{Comm: c}
				if c.Rank() == 1 {
					a.sum = func(_ context.Context, v []float32) {
						if step == 2 {
							v[len(v)/2] = float32(math.NaN())
						}
					}
				}
				tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{Note: func(format string, args ...any) {
					if strings.HasSuffix(format, "skipped") {
						skipped[c.Rank()] = append(skipped[c.Rank()], step)
					}
				}}, a, nil)
				if err != nil {
					return err
				}
				defer tr.Close()
				tr.objective = &counting{tr.objective, &step}
				_, err = tr.Run(t.Context())
				return err
			})
			for r, err := range errs {
				var fault *FaultError
				if action == "stop" && (!errors.As(err, &fault) || fault.Step != 2 || fault.Tensor == "") {
					t.Errorf("sharding %s, rank %d: %v", sharding, r, err)
				}
				if action == "skip" && (err != nil || !slices.Equal(skipped[r], []int{2})) {
					t.Errorf("sharding %s, rank %d: %v, skipped %v", sharding, r, err, skipped[r])
				}
			}
		}
	}
}

// counting is an objective that says which step it is at.
type counting struct {
	objective
	step *int
}

func (c *counting) accumulate(ctx context.Context, t *Trainer, st *Step) error {
	*c.step = st.Step
	return c.objective.accumulate(ctx, t, st)
}

// Ranks whose sequences of a step carry no loss add nothing, and wait for nobody.
func TestRanksWithoutLoss(t *testing.T) {
	cfg := workshop(t)
	set, err := shard.Open(cfg.Data.Train[0].Shards)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	dir := filepath.Join(t.TempDir(), "data")
	w, err := shard.NewWriter(dir, shard.Record{Vocab: set.Record().Vocab, Tokenizer: set.Record().Tokenizer})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range set.Len() {
		s := set.Sample(i)
		roles := slices.Clone(s.Roles)
		if i%4 != 0 {
			clear(roles)
		}
		if err := w.Add(shard.Sample{IDs: s.IDs, Roles: roles}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	cfg.Data.Train, cfg.Data.Loss, cfg.Batch.Micro, cfg.Schedule.Steps = []DataSet{{Shards: dir}}, "assistant", 1, 4
	cfg.derive()
	want := ""
	for _, run := range []struct {
		size     int
		sharding string
	}{{1, "none"}, {4, "none"}, {4, "optimizer"}, {4, "gradients"}, {4, "parameters"}} {
		own := *cfg
		own.Output, own.Parallel = fmt.Sprint(cfg.Output, run.size, run.sharding), ParallelConfig{Sharding: run.sharding, Parts: 8, Overlap: "always"}
		got := outcomeOf(t, &own, runRanks(t, &own, run.size, 0))
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%d ranks, sharding %s: other bits than one rank", run.size, run.sharding)
		}
	}
}

// A checkpoint is finished when all ranks have written, and not at all if one of them cannot.
func TestMarkerComesLast(t *testing.T) {
	cfg := workshop(t)
	cfg.Parallel.Sharding = "optimizer"
	full := errors.New("no space left")
	errs := onRanks(t, cfg, 2, unchanged, func(tr *Trainer) error {
		for _, fails := range []bool{false, true} {
			dir := filepath.Join(tr.checkpoints(), fmt.Sprintf("step-%08d", map[bool]int{false: 1, true: 2}[fails]))
			err := tr.write(t.Context(), dir, func(dir string, written *sums) error {
				if tr.ranks.Rank() == 1 {
					time.Sleep(50 * time.Millisecond)
					if durable.Marked(dir, commitMarker) {
						return errors.New("finished without rank 1")
					}
					if fails {
						return full
					}
				}
				return tr.writeParts(dir, written)
			})
			if durable.Marked(dir, commitMarker) == fails {
				return fmt.Errorf("rank 1 fails: %v; finished: %v", fails, !fails)
			}
			var rank *RankError
			if !fails && err != nil || fails && !errors.Is(err, full) && (!errors.As(err, &rank) || rank.Rank != 1) {
				return fmt.Errorf("rank 1 fails: %v: %w", fails, err)
			}
		}
		return nil
	})
	for r, err := range errs {
		if err != nil {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}

// Checkpoints are ordered by their numbers, not by their names.
func TestOrderOfCheckpoints(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"step-100000000", "step-00009900", "step-99999999", "step-00010000", "step-x", "damaged-step-00000001"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := durable.Mark(filepath.Join(dir, name), commitMarker, nil); err != nil {
			t.Fatal(err)
		}
	}
	done, err := committed(dir)
	if got := strings.Join(namesOf(done), " "); err != nil || got != "step-00009900 step-00010000 step-99999999 step-100000000" {
		t.Errorf("%s, %v", got, err)
	}
}

// Dropout and noise of a step are those of the whole batch, whichever ranks draw them, before and after a stop.
func TestDropoutOnOtherRanks(t *testing.T) {
	base := workshop(t)
	base.Schedule.Steps = 1
	runAll(t, base, 0)
	cfg := *base
	cfg.Output, cfg.Model = filepath.Join(t.TempDir(), "out"), onBase(base)
	cfg.LoRA, cfg.Compute.NEFTune = &LoRAConfig{Rank: 4, Alpha: 8, Dropout: 0.3}, 5
	cfg.Schedule.Steps, cfg.Batch.Micro, cfg.Parallel.Parts = 6, 1, 4
	cfg.derive()
	whole := cfg
	whole.Output += "-whole"
	want := outcomeOf(t, &whole, runRanks(t, &whole, 4, 0))
	steps := runRanks(t, &cfg, 4, 2)
	steps = append(steps, runRanks(t, &cfg, 1, 4)...)
	if outcomeOf(t, &cfg, append(steps, runRanks(t, &cfg, 2, 0)...)) != want {
		t.Error("interrupted, and on other ranks, the run has other bits")
	}
}
