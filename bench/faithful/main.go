// Command faithful compares Leo's numbers with llama.cpp's and with a float32 reference on the same GGUF file:
// see README.md for the order of the programs.
//
//	go run ./bench/faithful -model M.gguf -out OUT run               # Leo's side
//	go run ./bench/faithful -model M.gguf -out OUT compare           # the table
//
// Everything follows the ids in OUT/ids.json, which llama.cpp wrote: twenty answers of 128 tokens, and windows of
// a German text. X.logits are float32 [positions][vocabulary], X.text float32 log-probabilities.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"leolm/catalog"
	"leolm/chat"
	"leolm/infer"
	"leolm/open"
	"leolm/tensor"
)

// idsFile is what llamacpp.mjs wrote.
type idsFile struct {
	Prompts []struct {
		Prompt, Answer []int32
	}
	Windows    [][]int32
	Vocabulary int
}

// engines of Leo: as it answers, and with dequantized weights, which separates the rounding of activations and of the
// cache from the rest of the arithmetic.
var engines = []struct {
	name           string
	weights, cache tensor.DType
}{
	{"leo", tensor.Invalid, tensor.F16},
	{"leo-f32-weights", tensor.F32, tensor.F16},
	{"leo-f32", tensor.F32, tensor.F32},
}

func main() {
	model := flag.String("model", "", "GGUF file")
	out := flag.String("out", "", "folder with ids.json, for all results")
	prompts := flag.String("prompts", "bench/faithful/prompts.json", "prompts")
	only := flag.String("only", "", "run this engine only")
	flag.Parse()
	err := fmt.Errorf("run or compare?")
	switch flag.Arg(0) {
	case "run":
		err = run(*model, *out, *prompts, *only)
	case "compare":
		err = compare(*out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faithful:", err)
		os.Exit(1)
	}
}

func readIDs(out string) (*idsFile, error) {
	data, err := os.ReadFile(filepath.Join(out, "ids.json"))
	if err != nil {
		return nil, err
	}
	ids := &idsFile{}
	return ids, json.Unmarshal(data, ids)
}

func run(model, out, prompts, only string) error {
	ids, err := readIDs(out)
	if err != nil {
		return err
	}
	m, err := catalog.Open(model, catalog.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := checkPrompts(m, prompts, ids); err != nil {
		return err
	}
	for _, e := range engines {
		if only != "" && only != e.name {
			continue
		}
		if err := runOne(model, out, ids, e.name, e.weights, e.cache); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return nil
}

// checkPrompts returns an error unless Leo's chat template and tokenizer give the ids that llama.cpp's gave.
func checkPrompts(m *catalog.Model, path string, ids *idsFile) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var texts []string
	if err := json.Unmarshal(data, &texts); err != nil {
		return err
	}
	for i, text := range texts {
		got, _, err := m.Template.Encode(m.Tokenizer, []chat.Message{{Role: chat.User, Content: text}}, chat.Options{AddGenerationPrompt: true})
		if err != nil {
			return err
		}
		if !slices.Equal(got, ids.Prompts[i].Prompt) {
			return fmt.Errorf("prompt %d: Leo's ids %v, llama.cpp's %v", i+1, got, ids.Prompts[i].Prompt)
		}
	}
	return nil
}

func runOne(model, out string, ids *idsFile, name string, weights, cache tensor.DType) error {
	m, err := open.Open(context.Background(), model, open.Options{
		Context: 1024, CacheType: cache, Convert: func(string, tensor.DType) tensor.DType { return weights },
	})
	if err != nil {
		return err
	}
	defer m.Close()
	e := m.Engine
	f, err := os.Create(filepath.Join(out, name+".logits"))
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	s := e.NewSession()
	for _, p := range ids.Prompts {
		s.Close()
		// The row after the prompt's last token predicts the answer's first.
		for _, feed := range [][]int32{p.Prompt[:len(p.Prompt)-1], append(p.Prompt[len(p.Prompt)-1:len(p.Prompt):len(p.Prompt)], p.Answer[:len(p.Answer)-1]...)} {
			want := infer.WantAll
			if len(feed) == len(p.Prompt)-1 {
				want = infer.WantNone
			}
			logits, err := e.Step([]infer.Feed{{Session: s, IDs: feed, Want: want}})
			if err != nil {
				return err
			}
			if err := binary.Write(w, binary.LittleEndian, logits); err != nil {
				return err
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var scores []float32
	for _, win := range ids.Windows {
		s.Close()
		lps, err := e.Score(context.Background(), s, win)
		if err != nil {
			return err
		}
		scores = append(scores, lps[1:]...)
	}
	g, err := os.Create(filepath.Join(out, name+".text"))
	if err != nil {
		return err
	}
	defer g.Close()
	return binary.Write(g, binary.LittleEndian, scores)
}

// compare prints, for every X.logits and X.text, how far X is from reference.*.
func compare(out string) error {
	ids, err := readIDs(out)
	if err != nil {
		return err
	}
	positions := 0
	for _, p := range ids.Prompts {
		positions += len(p.Answer)
	}
	ref, err := readFloats(filepath.Join(out, "reference.text"))
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(out, "*.logits"))
	if err != nil {
		return err
	}
	// An interrupted run has fewer windows: the comparison uses those that all runs have.
	texts, shortest := map[string][]float64{}, len(ref)
	for _, file := range files {
		name := filepath.Base(file[:len(file)-len(".logits")])
		text, err := readFloats(filepath.Join(out, name+".text"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		texts[name], shortest = text, min(shortest, len(text))
	}
	scored := len(ids.Windows[0]) - 1
	ref = ref[:shortest/scored*scored]
	fmt.Printf("%d positions of %d logits; text: %d tokens in %d of %d windows, reference %.6f nats per token\n\n",
		positions, ids.Vocabulary, len(ref), len(ref)/scored, len(ids.Windows), -sum(ref)/float64(len(ref)))
	fmt.Println("| | mean KL | largest KL | logit error, rms | logit error, max | argmax equal | gap > 2 max | of them equal | gap > 2 rms | of them equal | nats per token | against the reference | rms of log-probabilities |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, file := range files {
		name := filepath.Base(file[:len(file)-len(".logits")])
		if name == "reference" {
			continue
		}
		a, err := compareLogits(filepath.Join(out, "reference.logits"), file, positions, ids.Vocabulary)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.3g | %.3g | %.3g | %.3g | %d | %d | %d | %d | %d |", name, a.kl/float64(positions), a.worst, a.rms, a.maxErr,
			a.equal, a.clearMax, a.clearMaxEqual, a.clearRMS, a.clearRMSEqual)
		if texts[name] == nil {
			fmt.Println(" – | – | – |")
			continue
		}
		text := texts[name][:len(ref)]
		var sq float64
		for i := range ref {
			sq += (text[i] - ref[i]) * (text[i] - ref[i])
		}
		fmt.Printf(" %.6f | %+.4f %% | %.4f |\n", -sum(text)/float64(len(text)), 100*(sum(text)/sum(ref)-1), math.Sqrt(sq/float64(len(ref))))
	}
	return nil
}

// agreement of one engine with the reference over all positions.
type agreement struct {
	kl, worst   float64 // sum and largest of KL(reference ‖ engine), nats
	rms, maxErr float64 // of logits, minus the mean difference of each position, which softmax ignores
	equal       int     // positions whose likeliest token is the reference's
	// Positions where the reference's two best logits differ by more than twice the largest error of that
	// position, or twice the rms over all; and how many of them have the reference's likeliest token.
	clearMax, clearMaxEqual, clearRMS, clearRMSEqual int
}

func compareLogits(refFile, file string, positions, vocab int) (*agreement, error) {
	rf, err := os.Open(refFile)
	if err != nil {
		return nil, err
	}
	defer rf.Close()
	xf, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer xf.Close()
	for _, f := range []*os.File{rf, xf} {
		if st, err := f.Stat(); err != nil || st.Size() != 4*int64(positions)*int64(vocab) {
			return nil, fmt.Errorf("%s does not have %d × %d numbers (%v)", f.Name(), positions, vocab, err)
		}
	}
	a := &agreement{}
	var sq float64
	type position struct {
		gap   float64
		equal bool
	}
	var all []position
	r, x := make([]float64, vocab), make([]float64, vocab)
	rb, xb := bufio.NewReaderSize(rf, 1<<20), bufio.NewReaderSize(xf, 1<<20)
	for range positions {
		if err := readRow(rb, r); err != nil {
			return nil, err
		}
		if err := readRow(xb, x); err != nil {
			return nil, err
		}
		var mean float64
		for i := range r {
			mean += (x[i] - r[i]) / float64(vocab)
		}
		var maxErr float64
		for i := range r {
			d := x[i] - r[i] - mean
			sq += d * d
			maxErr = max(maxErr, math.Abs(d))
		}
		lr, lx := logSumExp(r), logSumExp(x)
		var kl float64
		for i := range r {
			p := r[i] - lr
			kl += math.Exp(p) * (p - (x[i] - lx))
		}
		best, second := top(r)
		got, _ := top(x)
		p := position{r[best] - r[second], got == best}
		all = append(all, p)
		a.kl += kl
		a.worst = max(a.worst, kl)
		a.maxErr = max(a.maxErr, maxErr)
		if p.equal {
			a.equal++
		}
		if p.gap > 2*maxErr {
			a.clearMax++
			if p.equal {
				a.clearMaxEqual++
			}
		}
	}
	a.rms = math.Sqrt(sq / float64(positions) / float64(vocab))
	for _, p := range all {
		if p.gap > 2*a.rms {
			a.clearRMS++
			if p.equal {
				a.clearRMSEqual++
			}
		}
	}
	return a, nil
}

func readRow(r io.Reader, dst []float64) error {
	buf := make([]byte, 4*len(dst))
	if _, err := io.ReadFull(r, buf); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:])))
	}
	return nil
}

func readFloats(path string) ([]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	v := make([]float64, st.Size()/4)
	return v, readRow(bufio.NewReader(f), v)
}

func sum(v []float64) float64 {
	var s float64
	for _, x := range v {
		s += x
	}
	return s
}

func logSumExp(v []float64) float64 {
	m := slices.Max(v)
	var s float64
	for _, x := range v {
		s += math.Exp(x - m)
	}
	return m + math.Log(s)
}

// top returns the indices of the two largest elements.
func top(v []float64) (best, second int) {
	second = -1
	for i, x := range v {
		switch {
		case i == 0:
		case x > v[best]:
			best, second = i, best
		case second < 0 || x > v[second]:
			second = i
		}
	}
	return best, second
}
