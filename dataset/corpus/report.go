package corpus

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"leolm/internal/bounded"
	"leolm/internal/durable"
)

// A Report is what became of a corpus. It depends on the plan alone, so two
// runs give the same bytes.
type Report struct {
	Name      string        `json:"name"`
	Plan      string        `json:"plan"`
	Inputs    []InputReport `json:"inputs"`
	Total     InputReport   `json:"total"`
	Dedup     *DedupStats   `json:"dedup,omitempty"`
	Tokenizer string        `json:"tokenizer"` // SHA-256 of its first file
	Vocab     int           `json:"vocab"`
	Width     int           `json:"bytes_per_id"`
	BOS       int32         `json:"bos"`
	EOS       int32         `json:"eos"`
	Window    int           `json:"window"`
	Seed      uint64        `json:"seed"`
	Longest   int64         `json:"longest_document_tokens"`
	Samples   int64         `json:"samples"`
	ValSample int64         `json:"validation_samples"`
	Shards    []PackStats   `json:"shards"`
}

// An InputReport is one line of a report.
type InputReport struct {
	Name string `json:"name"`
	PrepStats
	Train Tokens    `json:"train"`
	Val   Tokens    `json:"validation"`
	Copy  Count     `json:"duplicates"`
	Dups  []Dropped `json:"duplicate_examples,omitempty"`
}

// report adds up the stats of all tasks into DIR/report.json and the list of
// shards into DIR/out/manifest.json.
func (r *runner) report(ctx context.Context, _ int) (result, error) {
	rep, err := r.addUp()
	if err != nil {
		return result{}, err
	}
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return result{}, err
	}
	if err := durable.WriteFile(r.path("report.json"), append(b, '\n')); err != nil {
		return result{}, err
	}
	m, err := r.manifest(rep)
	if err != nil {
		return result{}, err
	}
	if b, err = json.MarshalIndent(m, "", "  "); err != nil {
		return result{}, err
	}
	if err := durable.WriteFile(r.path("out", "manifest.json"), append(b, '\n')); err != nil {
		return result{}, err
	}
	if err := r.removeStrays(m); err != nil {
		return result{}, err
	}
	return result{files: []string{"report.json", "out/manifest.json"}, stats: struct{}{}, note: fmt.Sprintf("%d samples, %d tokens", rep.Samples, rep.Total.Train.Tokens)}, nil
}

// addUp makes the report of the stats of all tasks, and checks that they agree.
func (r *runner) addUp() (*Report, error) {
	p := r.plan
	prep, err := stats[PrepStats](r, StagePrep)
	if err != nil {
		return nil, err
	}
	toks, err := stats[TokenStats](r, StageTokenize)
	if err != nil {
		return nil, err
	}
	packs, err := stats[PackStats](r, StagePack)
	if err != nil {
		return nil, err
	}
	rep := &Report{Name: p.Recipe.Name, Plan: p.ID, Window: p.Recipe.Pack.Window, Seed: p.Recipe.Seed, Tokenizer: p.Tokenizer[0].SHA256,
		Vocab: toks[0].Vocab, Width: toks[0].Width, BOS: toks[0].BOS, EOS: toks[0].EOS}
	if p.Recipe.bands() > 0 {
		d, err := stats[DedupStats](r, StageCluster)
		if err != nil {
			return nil, err
		}
		rep.Dedup = &d[0]
	}
	for _, in := range p.Recipe.Inputs {
		rep.Inputs = append(rep.Inputs, InputReport{Name: in.Name})
	}
	rep.Total.Name = "total"
	for i := range p.Inputs {
		in := &rep.Inputs[p.Inputs[i].Input]
		in.count(&prep[i], &toks[i])
		rep.Total.count(&prep[i], &toks[i])
		in.Dups = append(in.Dups, toks[i].Copies[:min(len(toks[i].Copies), max(0, maxCopies-len(in.Dups)))]...)
		rep.Longest = max(rep.Longest, toks[i].Longest)
	}
	rep.Total.Examples = nil
	for _, s := range packs {
		if s.Samples == 0 {
			continue
		}
		rep.Shards = append(rep.Shards, s)
		if s.Split == "train" {
			rep.Samples += s.Samples
		} else {
			rep.ValSample += s.Samples
		}
	}
	return rep, p.verify(rep, packs)
}

// count adds what became of one input file.
func (in *InputReport) count(prep *PrepStats, toks *TokenStats) {
	in.plus(prep)
	in.Train.plus(toks.Train.Count)
	in.Train.Tokens += toks.Train.Tokens
	in.Val.plus(toks.Val.Count)
	in.Val.Tokens += toks.Val.Tokens
	in.Copy.plus(Count{prep.Kept.Docs - toks.Train.Docs - toks.Val.Docs, prep.Kept.Bytes - toks.Train.Bytes - toks.Val.Bytes})
}

// manifest lists the shards, and writes their tokenizer beside them.
func (r *runner) manifest(rep *Report) (*Manifest, error) {
	m := &Manifest{Plan: r.plan.ID, Seed: r.plan.Recipe.Seed, Window: rep.Window, Vocab: rep.Vocab, BOS: rep.BOS, EOS: rep.EOS, TokenizerSHA256: rep.Tokenizer}
	tok, err := r.openTokenizer()
	if err != nil {
		return nil, err
	}
	if m.Tokenizer = tok.Fingerprint; tok.Files != nil {
		if err := tok.Files.Write(r.path("out", "tokenizer")); err != nil {
			return nil, err
		}
	}
	for _, s := range rep.Shards {
		e := ManifestShard{File: s.File, Samples: s.Samples, IDs: s.IDs, SHA256: s.SHA256}
		if s.Split == "train" {
			m.Train = append(m.Train, e)
		} else {
			m.Val = append(m.Val, e)
		}
	}
	return m, nil
}

var shardName = regexp.MustCompile(`^(train|val)-\d{5,}-of-\d{5,}\.(bin|idx|docs)$`)

// removeStrays removes shards of an earlier plan in the same folder, which
// someone might take for a part of this corpus.
func (r *runner) removeStrays(m *Manifest) error {
	listed := map[string]bool{}
	for _, s := range slices.Concat(m.Train, m.Val) {
		listed[s.File] = true
	}
	es, err := os.ReadDir(r.path("out"))
	if err != nil {
		return err
	}
	for _, e := range es {
		if base, _, _ := strings.Cut(e.Name(), "."); shardName.MatchString(e.Name()) && !listed[base] {
			if err := os.Remove(r.path("out", e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// verify checks that nothing was lost on the way: every token of a split is
// predicted once, so samples hold tokens + samples − 1 ids.
func (p *Plan) verify(rep *Report, packs []PackStats) error {
	for _, split := range []struct {
		name   string
		tokens Tokens
	}{{"train", rep.Total.Train}, {"val", rep.Total.Val}} {
		var ids, samples int64
		for _, s := range packs {
			if s.Split == split.name {
				ids += s.IDs
				samples += s.Samples
			}
		}
		want := split.tokens.Tokens
		if p.Recipe.Pack.Window > 0 && samples > 0 {
			want += samples - 1
		}
		if ids != want && !(samples == 0 && want <= 1) {
			return fmt.Errorf("the %s shards hold %d ids where %d are expected; this is an error in leo, please report it", split.name, ids, want)
		}
	}
	return nil
}

// A Manifest lists the finished shards of a corpus: DIR/out/manifest.json.
type Manifest struct {
	Plan            string `json:"plan"`
	Seed            uint64 `json:"seed"`
	Window          int    `json:"window"` // samples have window+1 ids; 0: one document each
	Vocab           int    `json:"vocab"`
	BOS             int32  `json:"bos"`
	EOS             int32  `json:"eos"`
	TokenizerSHA256 string `json:"tokenizer_sha256"`
	// Tokenizer is the fingerprint of the ids (tokenizer.Fingerprint); its files are in the folder tokenizer beside the
	// shards.
	Tokenizer string          `json:"tokenizer,omitempty"`
	Train     []ManifestShard `json:"train"`
	Val       []ManifestShard `json:"validation"`
}

// A ManifestShard is one shard beside the manifest.
type ManifestShard struct {
	File    string `json:"file"` // without extension
	Samples int64  `json:"samples"`
	IDs     int64  `json:"ids"`
	SHA256  string `json:"sha256"` // of the .bin file
}

// ReadReport reads DIR/report.json.
func ReadReport(dir string) (*Report, error) {
	path := filepath.Join(dir, "report.json")
	b, err := bounded.Regular(path, maxOwnFile)
	if err != nil {
		return nil, err
	}
	var rep Report
	if err := json.Unmarshal(b, &rep); err != nil {
		return nil, fmt.Errorf("%s: not a report: %w", path, err)
	}
	return &rep, nil
}

// Print writes the report for people.
func (rep *Report) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-22s %10s %10s %10s %10s %14s %12s\n", "input", "documents", "MB", "dropped", "copies", "train tokens", "validation")
	line := func(in *InputReport) {
		fmt.Fprintf(&b, "%-22s %10d %10.1f %10d %10d %14d %12d\n", in.Name, in.Read.Docs, float64(in.Read.Bytes)/1e6, in.Read.Docs-in.Kept.Docs, in.Copy.Docs, in.Train.Tokens, in.Val.Tokens)
	}
	for i := range rep.Inputs {
		line(&rep.Inputs[i])
	}
	line(&rep.Total)
	table := func(title string, m map[string]Count) {
		if len(m) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n%-44s %10s %10s\n", title, "documents", "MB")
		keys := make([]string, 0, len(m))
		for k := range m {
			keys = append(keys, k)
		}
		sort.Slice(keys, func(i, j int) bool {
			return m[keys[i]].Docs > m[keys[j]].Docs || m[keys[i]].Docs == m[keys[j]].Docs && keys[i] < keys[j]
		})
		for _, k := range keys {
			fmt.Fprintf(&b, "%-44s %10d %10.2f\n", k, m[k].Docs, float64(m[k].Bytes)/1e6)
		}
	}
	table("dropped by", rep.Total.Dropped)
	table("repaired", rep.Total.Repaired)
	if rep.Total.Errors > 0 {
		fmt.Fprintf(&b, "\n%d rows could not be read and were skipped (work/docs/*-skipped.jsonl lists them)\n", rep.Total.Errors)
	}
	if len(rep.Total.Lines) > 0 {
		names := make([]string, 0, len(rep.Total.Lines))
		for k := range rep.Total.Lines {
			names = append(names, k)
		}
		slices.Sort(names)
		for _, k := range names {
			fmt.Fprintf(&b, "\n%d lines removed by %s\n", rep.Total.Lines[k], k)
		}
	}
	if d := rep.Dedup; d != nil {
		fmt.Fprintf(&b, "\nduplicates: %d exact, %d near, in %d groups\n", d.Exact.Docs, d.Near.Docs, d.Groups)
		table("copy = kept instead", d.Between)
	}
	fmt.Fprintf(&b, "\n%d train and %d validation samples", rep.Samples, rep.ValSample)
	if rep.Window > 0 {
		fmt.Fprintf(&b, " of %d + 1 ids", rep.Window)
	}
	fmt.Fprintf(&b, " in %d shards, vocabulary %d, longest document %d tokens\n", len(rep.Shards), rep.Vocab, rep.Longest)
	_, err := io.WriteString(w, b.String())
	return err
}
