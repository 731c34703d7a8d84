package corpus

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"leolm/dataset/shard"
)

// wordTokenizer gives each word an id by its letters: enough to follow words
// through the pipeline.
func wordTokenizer(string) (*Tokenizer, error) {
	return &Tokenizer{Vocab: 5000, BOS: 1, EOS: 2, Append: func(dst []int32, text string) []int32 {
		for _, w := range strings.Fields(text) {
			h := uint32(7)
			for i := range len(w) {
				h = h*31 + uint32(w[i])
			}
			dst = append(dst, int32(3+h%4997))
		}
		return dst
	}}, nil
}

// TestMain lets the test binary be the program that TestKilledAnywhere kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CORPUS_RUN"); dir != "" {
		err := Run(context.Background(), dir, RunOptions{Task: -1, Workers: 2, Tokenizer: func(path string) (*Tokenizer, error) {
			tok, err := wordTokenizer(path)
			plain := tok.Append
			tok.Append = func(dst []int32, text string) []int32 {
				time.Sleep(20 * time.Microsecond) // long enough to be killed inside
				return plain(dst, text)
			}
			return tok, err
		}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// story is a text that no filter minds.
func story(rng *rand.Rand, words int) string {
	list := strings.Fields("der König und die Königin hatten drei Söhne aber keine Tochter da ging eines Tages ein alter Mann durch den Wald sah im Schnee einen goldenen Vogel sitzen dieser sprach zu ihm komm mit mir ich zeige dir das Schloß am Meer wo niemand wohnt außer einem Riesen welcher schläft")
	var b strings.Builder
	for i := range words {
		if i > 0 {
			b.WriteByte(" \n"[min(rng.IntN(9)/8, 1)])
		}
		b.WriteString(list[rng.IntN(len(list))])
	}
	return b.String()
}

type inputDoc struct {
	Title string `json:"title,omitempty"`
	Text  string `json:"text"`
}

func writeJSONL(t *testing.T, path string, docs []inputDoc) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, d := range docs {
		if err := e.Encode(d); err != nil {
			t.Fatal(err)
		}
	}
	data := b.Bytes()
	if strings.HasSuffix(path, ".gz") {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(data)
		w.Close()
		data = z.Bytes()
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// fixture is a folder with three inputs and a recipe: 702 documents, some exact
// copies, some near copies, across files.
func fixture(t *testing.T) (dir string, recipe string) {
	t.Helper()
	dir = t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	var a, b, c []inputDoc
	for i := range 300 {
		a = append(a, inputDoc{fmt.Sprintf("Titel %d", i), story(rng, 20+rng.IntN(200))})
	}
	for i := range 300 {
		b = append(b, inputDoc{fmt.Sprintf("Titel %d", i), story(rng, 20+rng.IntN(200))})
	}
	for i := range 100 {
		c = append(c, inputDoc{"", story(rng, 30)})
		if i < 40 {
			c = append(c, inputDoc{"", strings.ToUpper(a[i].Text) + "!"})
		}
	}
	c = append(c, inputDoc{"", "– – –"}, inputDoc{"", "!!!"}) // no words: copies of nothing
	for i := 100; i < 130; i++ {                              // near copies
		w := strings.Fields(a[i].Text + " " + a[i+40].Text + " " + a[i+80].Text)
		a[i].Text = strings.Join(w, " ")
		w[len(w)/2] = "anders"
		b[i].Text = strings.Join(w, " ")
	}
	writeJSONL(t, filepath.Join(dir, "a.jsonl"), a)
	writeJSONL(t, filepath.Join(dir, "b.jsonl.gz"), b)
	writeJSONL(t, filepath.Join(dir, "c.jsonl"), c)
	os.WriteFile(filepath.Join(dir, "tok.model"), []byte("words"), 0o644)
	recipe = filepath.Join(dir, "r.yaml")
	os.WriteFile(recipe, fmt.Appendf(nil, `
name: test
tokenizer: %[1]s/tok.model
inputs:
  - {path: %[1]s/a.jsonl}
  - {path: %[1]s/b.jsonl.gz}
  - {path: %[1]s/c.jsonl}
dedup:
  minhash: {bands: 14, rows: 8, ngram: 5}
pack: {window: 64}
validation: {fraction: 0.1}
`, dir), 0o644)
	return dir, recipe
}

func mustPlan(t testing.TB, recipe, out string, shards int, sets ...string) *Plan {
	t.Helper()
	r, err := LoadRecipe(recipe, sets)
	if err != nil {
		t.Fatal(err)
	}
	p, err := MakePlan(r, PlanOptions{RecipeFile: recipe, Sets: sets})
	if err != nil {
		t.Fatal(err)
	}
	if shards > 0 { // as a larger corpus would have
		p.Train, p.Val = shards, shards
		p.layOut()
	}
	if err := p.Write(out, false); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustRun(t *testing.T, dir string, workers int) {
	t.Helper()
	if err := Run(context.Background(), dir, RunOptions{Task: -1, Workers: workers, Tokenizer: wordTokenizer}); err != nil {
		t.Fatal(err)
	}
}

// snapshot is every byte of the output.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "out", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no output", err)
	}
	out := map[string]string{}
	for _, f := range append(files, filepath.Join(dir, "report.json")) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = string(b)
	}
	return out
}

func sameOutput(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, b := range want {
		if got[name] != b {
			t.Errorf("%s: %s differs (%d and %d bytes)", what, name, len(got[name]), len(b))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d files, want %d", what, len(got), len(want))
	}
}

// stream reads all samples of a split back into one row of ids, checking that
// neighbors share one, and the document starts in it.
func stream(t *testing.T, dir, split string, window int) (ids []int32, starts []int) {
	t.Helper()
	m, err := ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := m.Train
	if split == "val" {
		list = m.Val
	}
	for _, sh := range list {
		s, err := shard.Open(filepath.Join(dir, "out", sh.File))
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.Len() {
			x := s.Sample(i)
			last := sh.File == list[len(list)-1].File && i == s.Len()-1
			if len(x.IDs) != window+1 && !last || len(x.IDs) > window+1 || len(x.IDs) < 2 {
				t.Errorf("%s sample %d has %d ids", sh.File, i, len(x.IDs))
			}
			base := 0
			if len(ids) > 0 {
				if ids[len(ids)-1] != x.IDs[0] {
					t.Fatalf("%s sample %d does not begin with the last id before", sh.File, i)
				}
				ids = ids[:len(ids)-1]
				base = len(ids)
			}
			for _, d := range x.Docs {
				if at := base + int(d); x.IDs[d] == 1 && (len(starts) == 0 || starts[len(starts)-1] != at) {
					starts = append(starts, at)
				} else if x.IDs[d] != 1 && d != 0 {
					t.Errorf("%s sample %d: no document begins at %d", sh.File, i, d)
				}
			}
			ids = append(ids, x.IDs...)
		}
		s.Close()
	}
	return ids, starts
}

func TestEndToEnd(t *testing.T) {
	dir, recipe := fixture(t)
	out := filepath.Join(dir, "out1")
	mustPlan(t, recipe, out, 0)
	mustRun(t, out, 2)
	rep, err := ReadReport(out)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Total.Read.Docs != 742 || rep.Dedup.Exact.Docs != 40 || rep.Dedup.Near.Docs < 28 || rep.Dedup.Near.Docs > 36 {
		t.Errorf("read %d, exact %d, near %d; want 742, 40, about 30", rep.Total.Read.Docs, rep.Dedup.Exact.Docs, rep.Dedup.Near.Docs)
	}
	if c := rep.Dedup.Between["c = a"]; c.Docs != 40 {
		t.Errorf("copies of a in c: %+v", rep.Dedup.Between)
	}
	if v := rep.Total.Val.Docs; v < 40 || v > 100 {
		t.Errorf("%d documents held out of %d", v, rep.Total.Read.Docs)
	}

	// Every kept document, and nothing else, is in the streams, between its BOS and EOS.
	tok, _ := wordTokenizer("")
	want := map[string]int{}
	for _, name := range []string{"a", "b", "c"} {
		in := map[string]string{"a": "a.jsonl", "b": "b.jsonl.gz", "c": "c.jsonl"}[name]
		rd, err := openInput(filepath.Join(dir, in), "jsonl", nil)
		if err != nil {
			t.Fatal(err)
		}
		for {
			d, err := rd.next()
			if err != nil {
				break
			}
			if err := d.decode(&Input{Text: "text", Key: "title"}); err != nil {
				t.Fatal(err)
			}
			want[fmt.Sprint(tok.Append(nil, d.text))]++
		}
		rd.Close()
	}
	var docs int64
	held := map[string]bool{}
	for _, split := range []string{"val", "train"} {
		ids, starts := stream(t, out, split, 64)
		tokens := rep.Total.Train.Tokens
		if split == "val" {
			tokens = rep.Total.Val.Tokens
		}
		if int64(len(ids)) != tokens {
			t.Errorf("%s: %d ids, report says %d", split, len(ids), tokens)
		}
		for i, from := range starts {
			to := len(ids)
			if i+1 < len(starts) {
				to = starts[i+1]
			}
			if ids[to-1] != 2 {
				t.Fatalf("%s: document %d does not end with EOS", split, i)
			}
			text := fmt.Sprint(ids[from+1 : to-1])
			if want[text] == 0 {
				t.Fatalf("%s: document %d is not one of the inputs", split, i)
			}
			if split == "val" {
				held[text] = true
			} else if held[text] {
				t.Errorf("a document is in both splits")
			}
			docs++
		}
	}
	if docs != rep.Total.Train.Docs+rep.Total.Val.Docs || docs != 742-rep.Dedup.Exact.Docs-rep.Dedup.Near.Docs {
		t.Errorf("%d documents in the shards, %d in the report", docs, rep.Total.Train.Docs+rep.Total.Val.Docs)
	}
}

// The output depends on the plan alone.
func TestSameBytesForAnyWorkers(t *testing.T) {
	dir, recipe := fixture(t)
	var want map[string]string
	for _, workers := range []int{1, 2, 4} {
		out := filepath.Join(dir, fmt.Sprint("w", workers))
		mustPlan(t, recipe, out, 3)
		mustRun(t, out, workers)
		got := snapshot(t, out)
		if want == nil {
			want = got
		}
		sameOutput(t, fmt.Sprint(workers, " workers"), got, want)
	}
	// Task by task, in another order, as on a cluster.
	out := filepath.Join(dir, "tasks")
	p := mustPlan(t, recipe, out, 3)
	for _, s := range p.Stages {
		for i := s.Tasks - 1; i >= 0; i-- {
			if err := Run(context.Background(), out, RunOptions{Stage: s.Name, Task: i, Workers: 1, Tokenizer: wordTokenizer}); err != nil {
				t.Fatal(err)
			}
		}
	}
	sameOutput(t, "single tasks", snapshot(t, out), want)
}

// Shards cut the stream, they don't change it.
func TestSameStreamForAnyShards(t *testing.T) {
	dir, recipe := fixture(t)
	var want [2][]int32
	for _, shards := range []int{1, 2, 7, 40} {
		out := filepath.Join(dir, fmt.Sprint("s", shards))
		mustPlan(t, recipe, out, shards)
		mustRun(t, out, 2)
		for k, split := range []string{"train", "val"} {
			ids, _ := stream(t, out, split, 64)
			if want[k] == nil {
				want[k] = ids
			}
			if !slices.Equal(ids, want[k]) {
				t.Errorf("%d shards: the %s stream differs", shards, split)
			}
		}
	}
}

// A file in parts gives what the whole file gives, for any number of workers, and
// killed on the way.
func TestPartsGiveTheWhole(t *testing.T) {
	dir, recipe := fixture(t)
	// b as Parquet in several row groups, with a column more.
	type row struct {
		Title string `parquet:"title"`
		Text  string `parquet:"text"`
	}
	f, err := os.Create(filepath.Join(dir, "b.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	w := parquet.NewGenericWriter[row](f)
	src, err := openInput(filepath.Join(dir, "b.jsonl.gz"), "jsonl", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for i := 1; ; i++ {
		d, err := src.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = d.decode(&Input{Text: "text", Key: "title"})
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]row{{d.key, d.text}}); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			w.Flush()
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(recipe)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(recipe, bytes.Replace(b, []byte("b.jsonl.gz"), []byte("b.parquet"), 1), 0o644)

	plan := func(name string, part int64) (string, *Plan) {
		out := filepath.Join(dir, name)
		r, err := LoadRecipe(recipe, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := MakePlan(r, PlanOptions{RecipeFile: recipe, PartBytes: part})
		if err != nil {
			t.Fatal(err)
		}
		p.Train, p.Val = 3, 3
		p.layOut()
		if err := p.Write(out, false); err != nil {
			t.Fatal(err)
		}
		return out, p
	}
	// The name of the plan stands in the report and the manifest.
	output := func(out string, p *Plan) map[string]string {
		m := snapshot(t, out)
		for k, v := range m {
			m[k] = strings.ReplaceAll(v, p.ID, "ID")
		}
		return m
	}
	out, whole := plan("whole", 0)
	mustRun(t, out, 2)
	want := output(out, whole)
	for _, workers := range []int{1, 4} {
		out, p := plan(fmt.Sprint("parts", workers), int64(15000+5000*workers))
		if len(whole.Inputs) != 3 || p.Files() != 3 || len(p.Inputs) < 9 {
			t.Fatalf("%d files in %d parts", p.Files(), len(p.Inputs))
		}
		mustRun(t, out, workers)
		sameOutput(t, fmt.Sprint(len(p.Inputs), " parts, ", workers, " workers"), output(out, p), want)
	}
	out, p := plan("killed", 30000)
	killUntilDone(t, out)
	sameOutput(t, "parts, killed", output(out, p), want)
}

func TestSeedShuffles(t *testing.T) {
	dir, recipe := fixture(t)
	ids := map[string][]int32{}
	for _, seed := range []string{"1", "2"} {
		out := filepath.Join(dir, "seed"+seed)
		mustPlan(t, recipe, out, 0, "seed="+seed)
		mustRun(t, out, 2)
		ids[seed], _ = stream(t, out, "train", 64)
	}
	if len(ids["1"]) != len(ids["2"]) || slices.Equal(ids["1"], ids["2"]) {
		t.Error("two seeds give the same order, or other tokens")
	}
	slices.Sort(ids["1"])
	slices.Sort(ids["2"])
	if !slices.Equal(ids["1"], ids["2"]) {
		t.Error("two seeds give other tokens")
	}
}

func TestKilledAnywhere(t *testing.T) {
	dir, recipe := fixture(t)
	clean := filepath.Join(dir, "clean")
	mustPlan(t, recipe, clean, 3)
	mustRun(t, clean, 2)
	out := filepath.Join(dir, "killed")
	mustPlan(t, recipe, out, 3)
	killUntilDone(t, out)
	sameOutput(t, "after kills", snapshot(t, out), snapshot(t, clean))
}

// killUntilDone runs a plan in a process that it kills again and again.
func killUntilDone(t *testing.T, out string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(9, uint64(time.Now().UnixNano())))
	kills := 0
	for try := 0; ; try++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CORPUS_RUN="+out)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		limit := time.Duration(5+rng.IntN(60)) * time.Millisecond
		if try > 8 {
			limit = time.Minute
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("after %d kills: %v: %s", kills, err, stderr.Bytes())
			}
			left, _ := filepath.Glob(filepath.Join(out, "*", "*", ".*"))
			more, _ := filepath.Glob(filepath.Join(out, "*", ".*"))
			if len(left)+len(more) > 0 {
				t.Errorf("temporary files remain: %v %v", left, more)
			}
			if kills == 0 {
				t.Error("it was never killed")
			}
			return
		case <-time.After(limit):
			cmd.Process.Kill()
			<-done
			kills++
		}
	}
}

// A marker whose files are gone or cut off doesn't count.
func TestLostFilesAreMadeAgain(t *testing.T) {
	dir, recipe := fixture(t)
	out := filepath.Join(dir, "o")
	mustPlan(t, recipe, out, 2)
	mustRun(t, out, 2)
	want := snapshot(t, out)
	os.Remove(filepath.Join(out, "work/docs/00001"))
	os.Truncate(filepath.Join(out, "out/train-00000-of-00002.bin"), 100)
	st, _, err := Status(out)
	if err != nil || st[0].Done != 2 || st[4].Done != 3 {
		t.Errorf("status %+v, %v", st, err)
	}
	mustRun(t, out, 2)
	sameOutput(t, "after loss", snapshot(t, out), want)
}

func TestChangesAreNamed(t *testing.T) {
	dir, recipe := fixture(t)
	out := filepath.Join(dir, "o")
	mustPlan(t, recipe, out, 0)
	run := func() error {
		return Run(context.Background(), out, RunOptions{Task: -1, Workers: 2, Tokenizer: wordTokenizer})
	}
	expect := func(path string, err error) {
		t.Helper()
		var c *ChangedError
		if !errors.As(err, &c) || c.Path != path {
			t.Errorf("got %v, want a change of %s", err, path)
		}
	}
	edit := func(path string, change func([]byte) []byte) (undo func()) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(path, change(slices.Clone(b)), 0o644)
		return func() { os.WriteFile(path, b, 0o644) }
	}
	a := filepath.Join(dir, "a.jsonl")
	undo := edit(a, func(b []byte) []byte { return append(b, '\n') })
	expect(a, run())
	undo()
	undo = edit(a, func(b []byte) []byte { b[12]++; return b }) // same size
	expect(a, run())
	undo() // same content, new time: fine
	undo = edit(recipe, func(b []byte) []byte { return bytes.Replace(b, []byte("window: 64"), []byte("window: 65"), 1) })
	expect(recipe, run())
	undo()
	undo = edit(recipe, func(b []byte) []byte { return append(b, "# a remark\n"...) })
	if err := run(); err != nil {
		t.Errorf("a remark in the recipe: %v", err)
	}
	undo()
	plan := filepath.Join(out, "plan.json")
	undo = edit(plan, func(b []byte) []byte { return bytes.Replace(b, []byte(`"seed": 42`), []byte(`"seed": 43`), 1) })
	if err := run(); err == nil || !strings.Contains(err.Error(), "changed by hand") {
		t.Errorf("plan changed by hand: %v", err)
	}
	undo()
	tok := filepath.Join(dir, "tok.model")
	os.RemoveAll(filepath.Join(out, "done"))
	undo = edit(tok, func(b []byte) []byte { return append(b, 'x') })
	expect(tok, run())
	undo()

	// Another plan in the same folder: only on request; what stays the same is kept.
	r, err := LoadRecipe(recipe, []string{"pack.window=32"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := MakePlan(r, PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if err := p.Write(out, false); err == nil {
		t.Error("another plan was replaced without being asked")
	}
	if err := p.Write(out, true); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(out, "out", "train-00003-of-00009.bin")
	os.WriteFile(stray, []byte("old"), 0o644)
	st, _, err := Status(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range st {
		kept := s.Stage != StagePack && s.Stage != StageReport
		if kept != (len(s.Missing) == 0) {
			t.Errorf("after replacing the plan stage %s misses %v", s.Stage, s.Missing)
		}
	}
	os.WriteFile(recipe, bytes.Replace(mustRead(t, recipe), []byte("window: 64"), []byte("window: 32"), 1), 0o644)
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stray); err == nil {
		t.Error("a shard of another plan is still there")
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStagesWaitForEachOther(t *testing.T) {
	dir, recipe := fixture(t)
	out := filepath.Join(dir, "o")
	mustPlan(t, recipe, out, 0)
	one := func(stage string, task int) error {
		return Run(context.Background(), out, RunOptions{Stage: stage, Task: task, Workers: 1, Tokenizer: wordTokenizer})
	}
	for want, err := range map[string]error{
		"3 of 3 tasks of stage prep are not done": one(StageTokenize, 0),
		"there is no task 9":                      one(StagePrep, 9),
		"no stage \"shuffle\"":                    one("shuffle", 0),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := Run(ctx, out, RunOptions{Stage: StagePack, Task: 0, Wait: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting ended with %v", err)
	}
}

func TestSortBeyondMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	dir := t.TempDir()
	var all []key
	for i := range 5000 {
		all = append(all, key{hi: uint64(rng.IntN(3)), lo: uint64(rng.IntN(900)), id: uint32(i)})
	}
	want := slices.Clone(all)
	slices.SortFunc(want, key.compare)
	for _, limit := range []int{1, 7, 999, 5000, 6000} {
		s := &sorter{limit: limit, path: filepath.Join(dir, "run")}
		for _, k := range all[:min(len(all), limit*200)] {
			if err := s.add(k); err != nil {
				t.Fatal(err)
			}
		}
		var got []key
		runs, err := s.each(func(k key) error { got = append(got, k); return nil })
		if err != nil {
			t.Fatal(err)
		}
		s.close()
		w := want
		if limit == 1 {
			w = slices.Clone(all[:200])
			slices.SortFunc(w, key.compare)
		} else if limit == 7 {
			w = slices.Clone(all[:1400])
			slices.SortFunc(w, key.compare)
		}
		if !slices.Equal(got, w) {
			t.Errorf("limit %d, %d runs: wrong order", limit, runs)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("runs remain: %v", left)
	}
}

func TestKeysColumns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	const n = keysGroup + 1000 // two groups
	w, err := createKeys(path, 2, true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(n) {
		if err := w.add(int(i), [1]struct{ Hi, Lo uint64 }{{i + 1, i + 2}}[0], []uint64{i + 3, i + 4}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.commit(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for column, width := range map[int]int{-2: 4, -1: 16, 0: 8, 1: 8} {
		i := 0
		err := keysColumn(f, n, 2, column, func(g []byte) error {
			for ; len(g) > 0; g = g[width:] {
				want := i
				if column >= -1 {
					want += 2
				}
				if column >= 0 {
					want += 1 + column
				}
				if got := int(g[0]) | int(g[1])<<8 | int(g[2])<<16; got != want {
					return fmt.Errorf("entry %d is %d, want %d", i, got, want)
				}
				i++
			}
			return nil
		})
		if err != nil || i != n {
			t.Errorf("column %d: %d entries, %v", column, i, err)
		}
	}
	if err := keysColumn(f, n+1, 2, 1, func([]byte) error { return nil }); err == nil {
		t.Error("a cut file was read")
	}
}

// Documents that begin and end at the edges of windows.
func TestCutter(t *testing.T) {
	for _, c := range []struct {
		docs []int // lengths
		want string
	}{
		{[]int{9}, "5[0] 5[]"},
		{[]int{5}, "5[0]"},
		{[]int{4}, "4[0]"},
		{[]int{1}, ""},
		{[]int{4, 5}, "5[0 4] 5[0]"}, // the second begins at the id both windows share
		{[]int{5, 4}, "5[0] 5[1]"},
		{[]int{2, 2, 2, 4}, "5[0 2 4] 5[0 2] 2[]"},
		{[]int{3, 1, 1, 1, 1}, "5[0 3 4] 3[0 1 2]"},
	} {
		total := 0
		for _, n := range c.docs {
			total += n
		}
		var got []string
		write := func(ids []byte, starts []uint32) error {
			got = append(got, fmt.Sprint(len(ids)/2, starts))
			return nil
		}
		cut := cutter{write: write, window: 4, width: 2, total: int64(total)}
		for _, n := range c.docs {
			if err := cut.add(make([]byte, 2*n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := cut.finish(); err != nil {
			t.Fatal(err)
		}
		if g := strings.ReplaceAll(strings.Join(got, " "), " [", "["); g != c.want {
			t.Errorf("documents of %v ids: windows %s, want %s", c.docs, g, c.want)
		}
	}
}

// A folder in which an earlier version worked is gone on with: the stage tokenize was called tokenise then.
func TestFormerStageName(t *testing.T) {
	dir, recipe := fixture(t)
	out := filepath.Join(dir, "o")
	mustPlan(t, recipe, out, 3)
	mustRun(t, out, 2)
	want := snapshot(t, out)
	for i := range 3 {
		b := bytes.Replace(mustRead(t, filepath.Join(out, "done", markerName("tokenize", i))), []byte(`"tokenize"`), []byte(`"tokenise"`), 1)
		if err := os.WriteFile(filepath.Join(out, "done", markerName("tokenise", i)), b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(out, "done", markerName("tokenize", i))); err != nil {
			t.Fatal(err)
		}
	}
	// One task was not done; it is asked for as the job scripts of those days do.
	if err := os.Remove(filepath.Join(out, "done", markerName("tokenise", 1))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(out, "out")); err != nil {
		t.Fatal(err)
	}
	var did []string
	event := func(e Event) {
		if !e.Skipped {
			did = append(did, fmt.Sprint(e.Stage, " ", e.Task))
		}
	}
	for _, opt := range []RunOptions{{Stage: "tokenise", Task: 1}, {Task: -1}} {
		opt.Workers, opt.Tokenizer, opt.Event = 1, wordTokenizer, event
		if err := Run(t.Context(), out, opt); err != nil {
			t.Fatal(err)
		}
	}
	if len(did) == 0 || did[0] != "tokenize 1" || slices.ContainsFunc(did[1:], func(s string) bool { return !strings.HasPrefix(s, StagePack) && !strings.HasPrefix(s, StageReport) }) {
		t.Errorf("done again: %q", did)
	}
	sameOutput(t, "gone on with", snapshot(t, out), want)
}

// What is written with the same recipe has the same ID for good; if it must change, so must planVersion.
func TestPlansKeepTheirIDs(t *testing.T) {
	p := &Plan{
		Recipe: Recipe{Inputs: []Input{{}}, Seed: 1}, Inputs: []File{{SHA256: "a"}},
		Tokenizer: []File{{Path: "tok.model", SHA256: "b"}}, Train: 1, Val: 1,
	}
	if p.layOut(); p.ID != "723eaad38b7adb18a9879f02" {
		t.Errorf("ID %s", p.ID)
	}
}
