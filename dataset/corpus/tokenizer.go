package corpus

import (
	"fmt"

	"leolm/checkpoint"
	"leolm/tokenizer"
)

// A Tokenizer is what the stage tokenize needs of one. It must be safe for
// concurrent use.
type Tokenizer struct {
	Append func(dst []int32, text string) []int32 // ids of text, no control tokens
	Vocab  int                                    // ids are 0 … Vocab−1
	BOS    int32                                  // −1: none
	EOS    int32
	// Fingerprint and Files are kept beside the shards, for whoever trains on them; "" and nil: nothing is.
	Fingerprint string
	Files       checkpoint.TokenizerFiles
}

// openTokenizer opens the plan's tokenizer once.
func (r *runner) openTokenizer() (*Tokenizer, error) {
	r.tokOnce.Do(func() {
		for i := range r.plan.Tokenizer {
			if r.tokErr = r.plan.Tokenizer[i].unchanged(); r.tokErr != nil {
				return
			}
		}
		open := r.opt.Tokenizer
		if open == nil {
			open = OpenTokenizer
		}
		path := r.plan.Recipe.Tokenizer
		if len(r.plan.Tokenizer) == 1 {
			path = r.plan.Tokenizer[0].Path
		}
		t, err := open(path)
		switch {
		case err != nil:
			r.tokErr = err
		case t.BOS < 0 && r.plan.Recipe.Pack.BOS:
			r.tokErr = fmt.Errorf("%s: has no token for the beginning of a text; set pack.bos: false", path)
		case t.EOS < 0 && r.plan.Recipe.Pack.EOS:
			r.tokErr = fmt.Errorf("%s: has no token for the end of a text; set pack.eos: false", path)
		}
		r.tok = t
	})
	return r.tok, r.tokErr
}

// OpenTokenizer opens a tokenizer file or folder with package tokenizer.
func OpenTokenizer(path string) (*Tokenizer, error) {
	files, err := checkpoint.ReadTokenizerFiles(path)
	if err != nil {
		return nil, err
	}
	t, err := files.Open(path, tokenizer.Options{})
	if err != nil {
		return nil, err
	}
	return &Tokenizer{Append: t.AppendTokens, Vocab: t.Vocab(), BOS: t.BOS(), EOS: t.EOS(), Fingerprint: t.Fingerprint(), Files: files}, nil
}
