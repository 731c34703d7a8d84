package tokenizer

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

func sentences(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/saetze.txt")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func trainOn(t testing.TB, texts []string, workers int, opt TrainOptions) *TrainResult {
	t.Helper()
	tr, err := NewTrainer(opt)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range workers {
		c := tr.Counter()
		wg.Go(func() {
			for i := w; i < len(texts); i += workers {
				c.Add(texts[i])
			}
		})
	}
	wg.Wait()
	res, err := tr.Train(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestTrain(t *testing.T) {
	texts := sentences(t)
	opt := TrainOptions{VocabSize: 800, Control: []string{"<|im_start|>", "<|im_end|>", "<pad>"}, UserDefined: []string{"<tool>"}}
	res := trainOn(t, texts, 1, opt)
	back := slices.Clone(texts)
	slices.Reverse(back)
	if again := trainOn(t, back, 3, opt); !bytes.Equal(res.Model, again.Model) {
		t.Error("another order and number of workers gave another model")
	}
	tok, err := FromSentencePiece(res.Model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if tok.Vocab() != 800 {
		t.Errorf("%d ids, want 800", tok.Vocab())
	}
	for id, want := range []string{"<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<pad>", "<tool>", "<0x00>"} {
		if got := tok.Piece(int32(id)); got != want {
			t.Errorf("id %d is %q, want %q", id, got, want)
		}
	}
	if tok.BOS() != 1 || tok.EOS() != 2 || tok.PAD() != 5 || tok.UNK() != 0 {
		t.Errorf("BOS %d, EOS %d, PAD %d, UNK %d", tok.BOS(), tok.EOS(), tok.PAD(), tok.UNK())
	}
	tokens, words := 0, 0
	for _, s := range texts {
		ids := tok.AppendTokens(nil, s)
		tokens += len(ids)
		words += len(strings.Fields(s))
		if got := tok.Decode(ids, true); got != s {
			t.Errorf("%q came back as %q", s, got)
		}
	}
	// 500 merges learned on the text itself: about two tokens per word.
	if r := float64(tokens) / float64(words); r > 2.2 {
		t.Errorf("%.2f tokens per word: the merges don't fit the text", r)
	}
	for id := range int32(tok.Vocab()) {
		if p := tok.Piece(id); tok.Kind(id) == Normal && (strings.Contains(p[1:], "▁") && strings.Trim(p, "▁") != "" && !strings.HasPrefix(p, "▁") || len([]rune(p)) > 16) {
			t.Errorf("piece %q", p)
		}
	}
	if ids := tok.AppendTokens(nil, "a<|im_end|>b<tool>c"); slices.Contains(ids, 4) || !slices.Contains(ids, 6) {
		t.Errorf("text made %v: the control token must stay text, the user-defined one must not", ids)
	}
}

// The first merges, worked out by hand: "ab" occurs 7 times, then "▁ab" 5, then
// "cd" 4.
func TestTrainFirstMerges(t *testing.T) {
	tr, err := NewTrainer(TrainOptions{VocabSize: 259 + 3 + 5, Coverage: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := tr.Counter()
	for range 5 {
		c.Add("ab")
	}
	for range 2 {
		c.Add("\nab\ncd")
	}
	for range 2 {
		c.Add("\ncd")
	}
	res, err := tr.Train(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := FromSentencePiece(res.Model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for id := int32(259); int(id) < tok.Vocab(); id++ {
		got = append(got, tok.Piece(id))
	}
	if want := []string{"ab", "▁ab", "cd", "a", "b", "▁", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTrainRequired(t *testing.T) {
	const text = "aaaa aaaa aaaa aaaa b?"
	for required, want := range map[string]bool{"": false, "?ß": true} {
		tr, err := NewTrainer(TrainOptions{VocabSize: 262, Coverage: 0.5, Required: required})
		if err != nil {
			t.Fatal(err)
		}
		tr.Counter().Add(text)
		res, err := tr.Train(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := FromSentencePiece(res.Model, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []string{"?", "ß"} {
			if _, ok := tok.ID(c); ok != want {
				t.Errorf("required %q: %q has a piece: %v", required, c, ok)
			}
		}
		if _, ok := tok.ID("b"); ok {
			t.Errorf("required %q: b has a piece", required)
		}
	}
}

func TestTrainRefuses(t *testing.T) {
	for name, opt := range map[string]TrainOptions{
		"small":        {VocabSize: 259},
		"coverage":     {VocabSize: 1000, Coverage: 1.5},
		"twice":        {VocabSize: 1000, Control: []string{"<x>", "<x>"}},
		"byte":         {VocabSize: 1000, Control: []string{"<0x41>"}},
		"space":        {VocabSize: 1000, UserDefined: []string{"a b"}},
		"required":     {VocabSize: 1000, Required: "ab c"},
		"piece length": {VocabSize: 1000, MaxPiece: 100},
	} {
		if _, err := NewTrainer(opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	tr, _ := NewTrainer(TrainOptions{VocabSize: 1000})
	if _, err := tr.Train(context.Background(), nil); err == nil {
		t.Error("no text: no error")
	}
	tr, _ = NewTrainer(TrainOptions{VocabSize: 1000})
	tr.Counter().Add("zu wenig Text")
	if _, err := tr.Train(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "yields no more than") {
		t.Errorf("too little text: %v", err)
	}
}
