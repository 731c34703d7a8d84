package corpus

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"leolm/dataset/rows"
	"leolm/internal/bounded"
	"leolm/internal/durable"
)

// planVersion changes when the same recipe would give other bytes.
const planVersion = 1

// Stage names, in order.
const (
	StagePrep     = "prep"
	StageBuckets  = "buckets"
	StageCluster  = "cluster"
	StageTokenize = "tokenize"
	StagePack     = "pack"
	StageReport   = "report"
)

// formerTokenize is what StageTokenize was called first. Job scripts and markers of those days stay good, and the stage's
// keys are made with it, so that plans keep their IDs.
const formerTokenize = "tokenise"

// A Plan is what any number of machines agree on before they work.
type Plan struct {
	Version    int      `json:"version"`
	ID         string   `json:"id"`                    // hash of everything that decides the output
	RecipeFile string   `json:"recipe_file,omitempty"` // absolute
	Sets       []string `json:"sets,omitempty"`
	Recipe     Recipe   `json:"recipe"`
	Inputs     []File   `json:"inputs"`     // files or parts of files: one task each in prep and tokenize
	Tokenizer  []File   `json:"tokenizer"`  // the file, or the files of the folder
	EvalFiles  []File   `json:"eval_files"` // of the overlap filter
	Train      int      `json:"train_shards"`
	Val        int      `json:"validation_shards"`
	Stages     []Stage  `json:"stages"`
}

// A Stage is a number of independent tasks; it may begin when all tasks of the
// stages before it are done.
type Stage struct {
	Name  string   `json:"name"`
	Tasks int      `json:"tasks"`
	Keys  []string `json:"keys"` // per task: hash of what decides its output
}

// A File is an input as it was when the plan was made.
type File struct {
	Path   string `json:"path"` // absolute
	Input  int    `json:"input"`
	Format string `json:"format,omitempty"`
	Size   int64  `json:"size"`
	Time   string `json:"time"`             // of the last change
	SHA256 string `json:"sha256,omitempty"` // empty: size and time decide
	// Part, if set, is the piece of a large file that this task takes. The parts
	// of a file stand one after the other.
	Part *rows.Part `json:"part,omitempty"`
}

// load is the bytes that a task reads.
func (f *File) load() int64 {
	if f.Part != nil {
		return f.Part.Size
	}
	return f.Size
}

// goesOn reports whether f is the continuation of the file before it in a plan.
func (f *File) goesOn() bool { return f.Part != nil && f.Part.From > 0 }

// PlanOptions steer MakePlan.
type PlanOptions struct {
	RecipeFile string   // to notice later changes; may be empty
	Sets       []string // changes on top of the recipe file
	NoHash     bool     // trust size and time instead of hashing every input
	// PartBytes is the size of the parts into which a larger uncompressed JSONL
	// file is cut at lines and a Parquet file at row groups, one task each. The
	// output is the same. 0: files stay whole.
	PartBytes int64
}

// MakePlan finds and hashes the inputs and lays out stages and tasks. Inputs
// come in the order of the recipe, files of a pattern sorted by name.
func MakePlan(r *Recipe, opt PlanOptions) (*Plan, error) {
	p := &Plan{Version: planVersion, Sets: opt.Sets, Recipe: *r}
	if opt.RecipeFile != "" {
		abs, err := filepath.Abs(opt.RecipeFile)
		if err != nil {
			return nil, err
		}
		p.RecipeFile = abs
	}
	p.Recipe.Inputs = slices.Clone(r.Inputs)
	names := map[string]int{}
	var raw float64
	for i := range p.Recipe.Inputs {
		in := &p.Recipe.Inputs[i]
		paths, err := filepath.Glob(in.Path)
		if err != nil {
			return nil, fmt.Errorf("inputs.%d.path: %s: %w", i, in.Path, err)
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("inputs.%d.path: no file matches %s", i, in.Path)
		}
		if in.Name == "" {
			in.Name, _, _ = strings.Cut(filepath.Base(in.Path), ".")
		}
		if names[in.Name]++; names[in.Name] > 1 {
			return nil, fmt.Errorf("inputs.%d: a second input named %q; set name: to tell them apart", i, in.Name)
		}
		for _, path := range paths {
			f, err := stamp(path, opt.NoHash)
			if err != nil {
				return nil, err
			}
			f.Input = i
			if f.Format, err = in.formatOf(path); err != nil {
				return nil, err
			}
			size := float64(f.Size)
			switch filepath.Ext(path) { // the usual ratios for text
			case ".gz":
				size *= 2.8
			case ".zst", ".parquet":
				size *= 3.2
			}
			raw += size
			parts, err := rows.Cut(path, f.Format, opt.PartBytes)
			if err != nil {
				return nil, err
			}
			for i := range parts {
				f.Part = &parts[i]
				p.Inputs = append(p.Inputs, f)
			}
			if parts == nil {
				p.Inputs = append(p.Inputs, f)
			}
		}
	}
	var err error
	if p.Tokenizer, err = stampTree(r.Tokenizer, opt.NoHash); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if o := r.Filters.Overlap; o != nil {
		for _, path := range o.Files {
			f, err := stamp(path, opt.NoHash)
			if err != nil {
				return nil, fmt.Errorf("filters.overlap.files: %w", err)
			}
			p.EvalFiles = append(p.EvalFiles, f)
		}
	}
	// About half a byte of tokens for a byte of text at 2 bytes a token.
	shards := raw / 2 / float64(r.Pack.ShardMB<<20)
	p.Train = 1 + int(shards*(1-r.Validation.Fraction))
	if r.Validation.Fraction > 0 {
		p.Val = 1 + int(shards*r.Validation.Fraction)
	}
	p.layOut()
	return p, nil
}

// layOut computes stages and keys.
func (p *Plan) layOut() {
	r := &p.Recipe
	var prep Stage
	prep.Name, prep.Tasks = StagePrep, len(p.Inputs)
	var evals []string
	for _, f := range p.EvalFiles {
		evals = append(evals, f.identity())
	}
	for _, f := range p.Inputs {
		in := r.Inputs[f.Input]
		in.Path, in.Name = "", ""
		key := hashOf(planVersion, StagePrep, f.identity(), in, r.Normalize, r.Filters, evals, r.Dedup.MinHash, r.Dedup.Exact, r.OnError)
		if f.Part != nil {
			key = hashOf(key, f.Part)
		}
		if r.ListDropped {
			key = hashOf(key, "list dropped")
		}
		prep.Keys = append(prep.Keys, key)
	}
	p.Stages = []Stage{prep}
	add := func(name string, tasks int, decides ...any) {
		first := name
		if name == StageTokenize {
			first = formerTokenize
		}
		base := hashOf(p.Stages[len(p.Stages)-1].Keys, first, tasks, decides)
		s := Stage{Name: name, Tasks: tasks}
		for i := range tasks {
			s.Keys = append(s.Keys, hashOf(base, i))
		}
		p.Stages = append(p.Stages, s)
	}
	if bands := r.bands(); bands > 0 {
		add(StageBuckets, bands)
		add(StageCluster, 1)
	}
	var tok []string
	for _, f := range p.Tokenizer {
		tok = append(tok, filepath.Base(f.Path), f.identity())
	}
	add(StageTokenize, len(p.Inputs), tok, r.Seed, r.Pack.BOS, r.Pack.EOS, r.Validation, p.Train, p.Val)
	add(StagePack, p.Train+p.Val, r.Pack.Window)
	add(StageReport, 1, r.Name)
	p.ID = p.Stages[len(p.Stages)-1].Keys[0]
}

// Files is the number of input files.
func (p *Plan) Files() int {
	n := 0
	for i := range p.Inputs {
		if !p.Inputs[i].goesOn() {
			n++
		}
	}
	return n
}

// origin tells of a task the number of its file, and the first task of that.
func (p *Plan) origin(task int) (file, first int) {
	file = -1
	for i := range p.Inputs[:task+1] {
		if !p.Inputs[i].goesOn() {
			file++
			first = i
		}
	}
	return file, first
}

// bands is the number of tasks of the stage buckets: exact copies, then bands.
func (r *Recipe) bands() int {
	n := 0
	if r.Dedup.Exact {
		n = 1
	}
	if r.Dedup.MinHash != nil {
		n += r.Dedup.MinHash.Bands
	}
	return n
}

func hashOf(parts ...any) string {
	b, err := json.Marshal(parts)
	if err != nil {
		panic(err) // plain values only
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:12])
}

func (f *File) identity() string {
	if f.SHA256 != "" {
		return f.SHA256
	}
	return fmt.Sprintf("%s %d %s", f.Path, f.Size, f.Time)
}

func stamp(path string, noHash bool) (File, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return File{}, err
	}
	st, err := os.Stat(abs)
	if err != nil {
		return File{}, err
	}
	if !st.Mode().IsRegular() {
		return File{}, fmt.Errorf("%s: is not a regular file", path)
	}
	f := File{Path: abs, Size: st.Size(), Time: st.ModTime().UTC().Format(time.RFC3339Nano)}
	if !noHash {
		if f.SHA256, err = hashFile(abs); err != nil {
			return File{}, err
		}
	}
	return f, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, f, make([]byte, 1<<20)); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// stampTree is stamp for a file, or for the files of a folder.
func stampTree(path string, noHash bool) ([]File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		f, err := stamp(path, noHash)
		return []File{f}, err
	}
	es, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var out []File
	for _, e := range es {
		// The files a tokenizer is read from; a model folder has gigabytes beside them.
		switch filepath.Ext(e.Name()) {
		case ".model", ".json", ".txt":
			f, err := stamp(filepath.Join(path, e.Name()), noHash)
			if err != nil {
				return nil, err
			}
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no tokenizer.model or tokenizer.json in this folder", path)
	}
	return out, nil
}

// unchanged checks a file against the plan: size and time, and when these
// differ the hash.
func (f *File) unchanged() error {
	st, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return &ChangedError{f.Path, "the file is gone"}
	}
	if err != nil {
		return err
	}
	if st.Size() != f.Size {
		return &ChangedError{f.Path, fmt.Sprintf("%d bytes, then %d", f.Size, st.Size())}
	}
	now := st.ModTime().UTC().Format(time.RFC3339Nano)
	if now == f.Time {
		return nil
	}
	if f.SHA256 == "" {
		return &ChangedError{f.Path, "modified " + f.Time + ", then " + now}
	}
	sum, err := hashFile(f.Path)
	if err != nil {
		return err
	}
	if sum != f.SHA256 {
		return &ChangedError{f.Path, "its content differs"}
	}
	return nil
}

// Write saves the plan as DIR/plan.json. A plan of other content in DIR is
// replaced only if replace is set.
func (p *Plan) Write(dir string, replace bool) error {
	if old, err := ReadPlan(dir); err == nil && old.ID != p.ID && !replace {
		return &OtherPlanError{Dir: dir, Held: old.ID, New: p.ID}
	}
	if err := durable.MkdirAll(dir); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, "plan.json"), append(b, '\n'))
}

// maxOwnFile bounds the descriptions that Leo itself wrote into the folder of a corpus.
const maxOwnFile = 1 << 30

// ReadPlan reads DIR/plan.json.
func ReadPlan(dir string) (*Plan, error) {
	path := filepath.Join(dir, "plan.json")
	b, err := bounded.Regular(path, maxOwnFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NoPlanError{Dir: dir}
	}
	if err != nil {
		return nil, err
	}
	var p Plan
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%s: not a plan: %w", path, err)
	}
	if p.Version != planVersion {
		return nil, fmt.Errorf("%s: a plan of version %d, this leo makes version %d; make a new plan", path, p.Version, planVersion)
	}
	id := p.ID
	p.layOut()
	if p.ID != id {
		return nil, fmt.Errorf("%s: was changed by hand (its content hashes to %s, it says %s); make a new plan", path, p.ID, id)
	}
	return &p, nil
}

// CheckRecipe compares the plan with its recipe file, if that still exists.
func (p *Plan) CheckRecipe() error {
	if p.RecipeFile == "" {
		return nil
	}
	if _, err := os.Stat(p.RecipeFile); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	r, err := LoadRecipe(p.RecipeFile, p.Sets)
	if err != nil {
		return &ChangedError{p.RecipeFile, "it can no longer be read: " + err.Error()}
	}
	then := p.Recipe
	then.Inputs = slices.Clone(then.Inputs)
	for i := range then.Inputs { // names were filled in by the plan
		if i < len(r.Inputs) && r.Inputs[i].Name == "" {
			then.Inputs[i].Name = ""
		}
	}
	if hashOf(then) != hashOf(*r) {
		return &ChangedError{p.RecipeFile, "the recipe says something else now"}
	}
	return nil
}

// stage finds a stage by name.
func (p *Plan) stage(name string) (*Stage, error) {
	if name == formerTokenize {
		name = StageTokenize
	}
	var names []string
	for i := range p.Stages {
		if p.Stages[i].Name == name {
			return &p.Stages[i], nil
		}
		names = append(names, p.Stages[i].Name)
	}
	return nil, fmt.Errorf("no stage %q in this plan; it has %s", name, strings.Join(names, ", "))
}

// Memory estimates the peak memory of a run in bytes, for documents of at most
// docBytes.
func (p *Plan) Memory(workers int, docBytes int64) int64 {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	w := int64(workers)
	// prep and tokenize: each task holds up to `ahead` batches of about a
	// megabyte or one document, with the text, its decoded form and its keys.
	batch := max(docBytes, batchBytes) * 5
	perTask := ahead(workers)*batch + segmentBytes*3
	pack := int64(p.Recipe.Pack.ShardMB) << 20 * 3 / 2
	sort := int64(p.Recipe.Dedup.MemoryMB) << 20
	if p.Recipe.bands() == 0 {
		sort = 0
	}
	return 64<<20 + max(w*perTask, w*pack, w*sort)
}
