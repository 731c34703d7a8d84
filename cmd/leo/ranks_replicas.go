package main

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"leolm/eval"
	"leolm/open"
)

// What several ranks do with a model under evaluation.
const (
	ranksShare    = "share"
	ranksReplicas = "replicas"
)

// registerRanks adds the flag that chooses between them.
func registerRanks(cmd *cobra.Command) {
	cmd.Flags().String("ranks", ranksShare, "what processes under mpirun or srun do: share (each computes a part of the model, which need not fit one) or replicas (each has the whole model, and its share of the documents: faster)")
	completeWith(cmd, "ranks", ranksShare, ranksReplicas)
}

// replicated reports whether the user wants a whole model on each rank.
func replicated(cmd *cobra.Command) (bool, error) {
	f := cmd.Flags().Lookup("ranks")
	if f == nil {
		return false, nil
	}
	switch v := f.Value.String(); v {
	case ranksShare:
		return false, nil
	case ranksReplicas:
		return true, nil
	default:
		return false, usageError{fmt.Errorf("--ranks %q: choose share or replicas", v)}
	}
}

// modelOpener opens one of a command's models; what says which, or how.
type modelOpener func(cmd *cobra.Command, what byte) (m eval.Model, done func(), err error)

// leadEnd tells the other ranks that no model follows; any other number, which one they open.
const leadEnd = 0

// led lets all ranks but the first follow what rank 0 asks of its models, in place of run.
func led(run func(*cobra.Command, []string) error, open modelOpener) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		r := dealing(cmd.Context())
		if r == nil {
			return run(cmd, args)
		}
		if !r.first() {
			cmd.SetErr(io.Discard) // rank 0 says the same
			return r.followModels(cmd, open)
		}
		err := run(cmd, args)
		if end := r.tell(leadEnd); err == nil {
			err = end
		}
		return err
	}
}

func (r *rank) tell(what byte) error {
	_, err := r.comm.Share(context.Background(), 0, []byte{what})
	return err
}

// followModels does this rank's part until rank 0 has no more models.
func (r *rank) followModels(cmd *cobra.Command, open modelOpener) error {
	var failed error
	for {
		what, err := r.comm.Share(context.Background(), 0, nil)
		if err != nil {
			return errors.Join(failed, err)
		}
		if what[0] == leadEnd {
			return failed
		}
		m, done, err := r.openTogether(cmd, what[0], open)
		if err != nil {
			failed = err
			continue
		}
		failed = eval.Follow(cmd.Context(), r.comm, m)
		done()
	}
}

// replicas opens a model on all ranks, and makes one of them.
func (r *rank) replicas(cmd *cobra.Command, what byte, open modelOpener) (eval.Model, func(), error) {
	if err := r.tell(what); err != nil {
		return nil, nil, err
	}
	own, done, err := r.openTogether(cmd, what, open)
	if err != nil {
		return nil, nil, err
	}
	m, err := eval.NewReplicas(cmd.Context(), r.comm, own)
	if err != nil {
		done()
		return nil, nil, err
	}
	return m, func() {
		_ = m.Close() // if a rank is gone, the next call says so
		done()
	}, nil
}

// openTogether opens a model on every rank, or on none.
func (r *rank) openTogether(cmd *cobra.Command, what byte, open modelOpener) (eval.Model, func(), error) {
	m, done, err := open(cmd, what)
	if err := r.together(err); err != nil {
		if m != nil && done != nil {
			done()
		}
		return nil, nil, err
	}
	return m, done, nil
}

// together returns when all ranks have called it, with the error of the first rank that has one.
func (r *rank) together(own error) error {
	reason := ""
	if own != nil {
		reason = own.Error()
	}
	b, err := json.Marshal(reason)
	if err != nil {
		return err
	}
	all, err := r.comm.Gather(context.Background(), b)
	if err != nil {
		return errors.Join(own, err)
	}
	for rank, b := range all {
		if err := json.Unmarshal(b, &reason); err != nil {
			return err
		}
		if reason != "" && rank == 0 && r.first() {
			return own // with its type
		}
		if reason != "" {
			return &open.RankError{Rank: rank, Reason: reason}
		}
	}
	return nil
}

// hand is the documents of a file that this rank measures, of all that every rank reads.
type hand struct {
	r      *rank // nil: the only one
	bytes  []int // of the documents that each rank has
	owners []int // by document
	own    []eval.Perplexity
}

func newHand(r *rank) *hand {
	h := &hand{r: r, bytes: make([]int, 1)}
	if r != nil {
		h.bytes = make([]int, r.comm.Size())
	}
	return h
}

// mine deals out the next document: to the rank that has least.
func (h *hand) mine(text string) bool {
	least := slices.Index(h.bytes, slices.Min(h.bytes))
	h.bytes[least] += len(text)
	h.owners = append(h.owners, least)
	return h.r == nil || least == h.r.comm.Rank()
}

func (h *hand) add(p eval.Perplexity) { h.own = append(h.own, p) }

// all are the numbers of the file's documents, in their order; err is this rank's.
func (h *hand) all(err error) ([]eval.Perplexity, error) {
	if h.r == nil {
		return h.own, err
	}
	if err := h.r.together(err); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(h.own); err != nil { // numbers that are none, too
		return nil, err
	}
	gathered, err := h.r.comm.Gather(context.Background(), b.Bytes())
	if err != nil {
		return nil, err
	}
	hands := make([][]eval.Perplexity, len(gathered))
	for rank, b := range gathered {
		if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&hands[rank]); err != nil {
			return nil, err
		}
	}
	var out []eval.Perplexity
	for _, owner := range h.owners {
		if len(hands[owner]) == 0 {
			return nil, fmt.Errorf("rank %d has read fewer documents than this one: is it the same file?", owner)
		}
		out, hands[owner] = append(out, hands[owner][0]), hands[owner][1:]
	}
	return out, nil
}
