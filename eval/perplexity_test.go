package eval

import (
	"context"
	"math"
	"testing"

	"leolm/infer"
	"leolm/internal/shareddata"
	"leolm/open"
	"leolm/tensor"
)

// stories opens the 260K-parameter model of the shared data.
func stories(t *testing.T) (*infer.Engine, *open.Model) {
	t.Helper()
	m, err := open.Open(t.Context(), shareddata.Path(t, "data/models/stories260K.gguf"), open.Options{CacheType: tensor.F32})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m.Engine, m
}

const story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. " +
	"One day, she saw a big, red ball. She wanted to play with it, but it was too high."

func TestPerplexityOfSharedModel(t *testing.T) {
	e, m := stories(t)
	ctx := context.Background()
	whole, err := ScoreText(ctx, e, m.Tokenizer, story, PerplexityOptions{BOS: true})
	if err != nil {
		t.Fatal(err)
	}
	if whole.Bytes != len(story) || whole.Tokens < 40 {
		t.Fatalf("%+v", whole)
	}
	if b := whole.BitsPerByte(); b > 1 {
		t.Errorf("%.3f bits per byte on its own story", b)
	}
	// Less context cannot be the same, and here it is worse.
	short, err := ScoreText(ctx, e, m.Tokenizer, story, PerplexityOptions{BOS: true, Window: 8, Stride: 4})
	if err != nil {
		t.Fatal(err)
	}
	if short.Tokens != whole.Tokens || short.NLL <= whole.NLL {
		t.Errorf("windows of 8 tokens: %+v, whole: %+v", short, whole)
	}
	// A stride of one token scores each with the longest possible past.
	long, err := ScoreText(ctx, e, m.Tokenizer, story, PerplexityOptions{BOS: true, Window: 8, Stride: 1})
	if err != nil {
		t.Fatal(err)
	}
	if long.Tokens != whole.Tokens || long.NLL >= short.NLL {
		t.Errorf("stride 1: %+v, stride 4: %+v", long, short)
	}
	bare, err := ScoreText(ctx, e, m.Tokenizer, story, PerplexityOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if bare.Tokens != whole.Tokens-1 || bare.Bytes >= whole.Bytes {
		t.Errorf("without BOS: %+v", bare)
	}
}

func TestPerplexityUnits(t *testing.T) {
	p := Perplexity{Tokens: 4, Bytes: 16, Characters: 12, NLL: 8 * math.Ln2}
	p.Add(Perplexity{Tokens: 4, Bytes: 16, Characters: 12, NLL: 8 * math.Ln2})
	if p.BitsPerByte() != 0.5 || math.Abs(p.BitsPerCharacter()-16.0/24) > 1e-12 || math.Abs(p.Value()-4) > 1e-12 {
		t.Errorf("%v bits per byte, %v per character, perplexity %v", p.BitsPerByte(), p.BitsPerCharacter(), p.Value())
	}
}
