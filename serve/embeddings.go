package serve

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"sync"
)

// embeddingRequest is the body of POST /v1/embeddings.
type embeddingRequest struct {
	Model      string  `json:"model"`
	Input      prompts `json:"input"`
	Encoding   string  `json:"encoding_format"`
	Dimensions *whole  `json:"dimensions"`
}

// Bounds of POST /v1/embeddings.
const (
	maxInputs  = 2048
	embedAtOne = 8 // texts of one request that are computed together
)

func (r *embeddingRequest) check() error {
	switch {
	case len(r.Input) == 0:
		return bad("input", "input is missing or empty")
	case len(r.Input) > maxInputs:
		return bad("input", "%d inputs; there may be %d", len(r.Input), maxInputs)
	case r.Encoding != "" && r.Encoding != "float" && r.Encoding != "base64":
		return bad("encoding_format", "encoding_format %q; use float or base64", r.Encoding)
	}
	for i, p := range r.Input {
		if p.text == "" && len(p.ids) == 0 {
			return bad("input", "input %d is empty", i)
		}
	}
	return nil
}

// embeddings answers POST /v1/embeddings.
func (s *Server) embeddings(w http.ResponseWriter, r *http.Request) error {
	var req embeddingRequest
	if err := read(r, &req); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	m, release, err := s.models.get(r.Context(), req.Model)
	if err != nil {
		return err
	}
	defer release()
	if d := req.Dimensions; d != nil && int(*d) != m.card.embeddingSize {
		return bad("dimensions", "dimensions is %d; the embeddings of this model have %d, and cannot be shortened", *d, m.card.embeddingSize)
	}
	vectors, tokens, err := m.embed(r.Context(), tenant(r), req.Input)
	if err != nil {
		return err
	}
	type item struct {
		Object    string `json:"object"`
		Index     int    `json:"index"`
		Embedding any    `json:"embedding"`
	}
	data := make([]item, len(vectors))
	for i, v := range vectors {
		data[i] = item{"embedding", i, any(v)}
		if req.Encoding == "base64" {
			data[i].Embedding = packed(v)
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"object": "list", "data": data, "model": m.card.name,
		"usage": map[string]int{"prompt_tokens": tokens, "total_tokens": tokens},
	})
	return nil
}

// packed is a vector as OpenAI's clients unpack it: little-endian float32 in base64.
func packed(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// embed returns the embeddings of texts in their order, and the number of their tokens. All are checked before the first
// is computed.
func (m *model) embed(ctx context.Context, tenant string, inputs prompts) ([][]float32, int, error) {
	ids := make([][]int32, len(inputs))
	tokens := 0
	for i, p := range inputs {
		ids[i] = m.promptIDs(p, true)
		rows := m.Engine.Model().Config.VocabSize
		if err := tokenIDs(ids[i]).check("input", rows); err != nil {
			return nil, 0, err
		}
		if n, limit := len(ids[i]), m.sched.Context(); n > limit {
			e := tooLong(n, limit)
			e.Param = "input"
			return nil, 0, e
		}
		tokens += len(ids[i])
	}
	if err := exchangeOf(ctx).reserve(tokens, 0); err != nil {
		return nil, 0, err
	}
	exchangeOf(ctx).reads(tokens)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([][]float32, len(ids))
	places := make(chan struct{}, embedAtOne)
	var wg sync.WaitGroup
	for i := range ids {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			var err error
			if out[i], err = m.sched.Embed(ctx, tenant, ids[i]); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return out, tokens, context.Cause(ctx)
}
