package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"leolm/internal/durable"
)

// result is OUT/CELL.json: everything that is known of a cell.
type result struct {
	Cell     string            `json:"cell"`
	Model    string            `json:"model"`
	Threads  int               `json:"threads"`
	Programs map[string]string `json:"programs"` // name: version
	Machine  json.RawMessage   `json:"machine,omitempty"`
	Tried    []trial           `json:"llama_server_settings,omitempty"` // the first is the best
	Rounds   []round           `json:"rounds"`
}

// trial is a run of llama-server with settings that may turn out to be its best.
type trial struct {
	Settings settings `json:"settings"`
	Values   sample   `json:"values"`
}

// round has the values of each program that was measured, by its name.
type round map[string]sample

// path is of the file of a cell; results of several models may lie in one folder.
func (b *bench) path(cell string) string {
	return filepath.Join(b.out, strings.TrimSuffix(filepath.Base(b.model), ".gguf")+"-"+cell+".json")
}

func (b *bench) read(cell string) (*result, error) {
	r := &result{Cell: cell, Model: filepath.Base(b.model), Threads: b.threads}
	text, err := os.ReadFile(b.path(cell))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to measure again", b.path(cell), err)
	}
	if r.Threads != b.threads {
		return nil, fmt.Errorf("%s was measured with %d threads; remove it to measure again", b.path(cell), r.Threads)
	}
	return r, nil
}

func (b *bench) write(r *result) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return durable.WriteFile(b.path(r.Cell), append(text, '\n'))
}

// measure adds the missing rounds of a cell.
func (b *bench) measure(ctx context.Context, c *cell) error {
	r, err := b.read(c.name)
	if err != nil || len(r.Rounds) >= b.rounds {
		return err
	}
	b.describe(ctx, r)
	if err := b.choose(ctx, c, r); err != nil {
		return err
	}
	for len(r.Rounds) < b.rounds {
		n := len(r.Rounds)
		now := round{}
		names := []string{leoName, peerName}
		if n%2 == 1 {
			names[0], names[1] = names[1], names[0]
		}
		for _, name := range names {
			if name == leoName && b.leo == "" || name == peerName && b.peer == "" {
				continue
			}
			var best settings
			if len(r.Tried) > 0 {
				best = r.Tried[0].Settings
			}
			if now[name], err = b.once(ctx, c, name, best, uint64(n+1)); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s %d/%d: %s %s %.4g, %.2f processors busy with other work\n",
				c.name, n+1, b.rounds, name, c.headline, now[name][c.headline], now[name]["others"])
		}
		r.Rounds = append(r.Rounds, now)
		if err := b.write(r); err != nil {
			return err
		}
	}
	return nil
}

// describe notes the versions of the programs and what the machine can do now.
func (b *bench) describe(ctx context.Context, r *result) {
	r.Programs = map[string]string{}
	for name, args := range map[string][]string{leoName: {b.leo, "version"}, peerName: {b.peer, "--version"}} {
		if args[0] == "" {
			continue
		}
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err == nil {
			r.Programs[name], _, _ = strings.Cut(string(out), "\n")
		}
	}
	if b.leo != "" {
		if out, err := exec.CommandContext(ctx, b.leo, "bench", "--json").Output(); err == nil {
			r.Machine = out
		}
	}
}

// choose runs llama-server with each of its settings, those that were tried before left out, and puts the best first. A
// single one is not tried.
func (b *bench) choose(ctx context.Context, c *cell, r *result) error {
	if b.peer == "" {
		return nil
	}
	alone := len(c.slots)*len(b.flash)*len(b.batches) == 1
	tried := map[settings]bool{}
	for _, t := range r.Tried {
		tried[t.Settings] = true
	}
	for _, slots := range c.slots {
		for _, flash := range b.flash {
			for _, batch := range b.batches {
				n, err := strconv.Atoi(batch)
				if err != nil {
					return fmt.Errorf("--batch: %w", err)
				}
				s := settings{slots, flash, n}
				if tried[s] {
					continue
				}
				if alone {
					r.Tried = append(r.Tried, trial{Settings: s})
					continue
				}
				v, err := b.once(ctx, c, peerName, s, 0)
				if err != nil {
					return err
				}
				fmt.Fprintf(os.Stderr, "%s: llama-server %s: %s %.4g, %.2f processors busy with other work\n",
					c.name, s, c.headline, v[c.headline], v["others"])
				r.Tried = append(r.Tried, trial{s, v})
				for i := len(r.Tried) - 1; i > 0 && c.better(r.Tried[i].Values, r.Tried[i-1].Values); i-- {
					r.Tried[i], r.Tried[i-1] = r.Tried[i-1], r.Tried[i]
				}
				if err := b.write(r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c *cell) better(a, b sample) bool {
	if c.higher {
		return a[c.headline] > b[c.headline]
	}
	return a[c.headline] < b[c.headline]
}

// once starts a program, measures it and ends it.
func (b *bench) once(ctx context.Context, c *cell, name string, s settings, seed uint64) (sample, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.limit, fmt.Errorf("%s took longer than %v", name, b.limit))
	defer cancel()
	start := b.startLeo
	if name == peerName {
		start = func(ctx context.Context) (*server, error) { return b.startPeer(ctx, c, s) }
	}
	program, err := start(ctx)
	if err != nil {
		return nil, err
	}
	v, err := b.watched(ctx, c, program, seed)
	if err == nil && name == leoName && c.inside != nil {
		var own sample
		if own, err = c.inside(ctx, b, program, seed); err == nil {
			maps.Copy(v, own)
		}
	}
	program.stop()
	if err != nil {
		return nil, fmt.Errorf("%w (%s says: %s)", err, name, lastLine(program.log.Name()))
	}
	return v, nil
}

// watched measures, and notes how many processors other programs kept busy meanwhile.
func (b *bench) watched(ctx context.Context, c *cell, s *server, seed uint64) (sample, error) {
	before, err := s.ticks()
	if err != nil {
		return nil, err
	}
	v, err := c.run(ctx, b, s, seed)
	if err != nil {
		return nil, err
	}
	after, err := s.ticks()
	if err != nil {
		return nil, err
	}
	v["others"] = others(before, after)
	return v, nil
}

// arrivalRate is 70 % of the requests that llama-server (Leo, if it is measured alone) answers per second when there
// are always enough: the better of the two cells of chats, which are measured before.
func (b *bench) arrivalRate() (float64, error) {
	if b.rate > 0 {
		return b.rate, nil
	}
	name := peerName
	if b.peer == "" {
		name = leoName
	}
	var best float64
	for _, cell := range []string{"chats-8", "chats-32"} {
		r, err := b.read(cell)
		if err != nil {
			return 0, err
		}
		best = max(best, statOf(r.Rounds, name, "requests_per_second").median)
	}
	if best == 0 {
		return 0, errors.New("the rate of arrivals is unknown: measure chats-8 or chats-32 first, or give one")
	}
	return 0.7 * best, nil
}
