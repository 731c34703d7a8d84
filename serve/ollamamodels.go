package serve

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ollamaLevel is the version of Ollama's API that is spoken here: clients compare it with the one that they need.
const ollamaLevel = "0.12.6"

// ollamaVersion answers GET /api/version.
func (s *Server) ollamaVersion(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"version": ollamaLevel})
	return nil
}

// ollamaDetails are what Ollama's clients show of a model.
type ollamaDetails struct {
	ParentModel       string   `json:"parent_model"`
	Format            string   `json:"format"`
	Family            string   `json:"family"`
	Families          []string `json:"families"`
	ParameterSize     string   `json:"parameter_size"`
	QuantizationLevel string   `json:"quantization_level"`
}

func (e *entry) details() ollamaDetails {
	d := ollamaDetails{Format: e.file, Family: e.family, Families: []string{e.family}, ParameterSize: short(e.parameters), QuantizationLevel: e.quantization}
	if e.base != nil {
		d.ParentModel = tagged(e.base.name)
	}
	return d
}

// short writes a number of parameters as people say it: 4.2M, 1.1B.
func short(n int64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "B"}, {1e6, "M"}, {1e3, "K"}} {
		if v := float64(n) / unit.size; v >= 1 {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + unit.name
		}
	}
	return fmt.Sprint(n)
}

// digest is a name for the weights in the form of SHA-256, which Ollama's clients expect.
func (e *entry) digest() string {
	sum := sha256.Sum256([]byte(e.name + "\x00" + e.fingerprint))
	return hex.EncodeToString(sum[:])
}

// ollamaModel is a model in a list.
type ollamaModel struct {
	Name    string        `json:"name"`
	Model   string        `json:"model"`
	Size    int64         `json:"size"`
	Digest  string        `json:"digest"`
	Details ollamaDetails `json:"details"`
}

func (e *entry) ollama() ollamaModel {
	return ollamaModel{Name: tagged(e.name), Model: tagged(e.name), Size: e.bytes, Digest: e.digest(), Details: e.details()}
}

// ollamaTags answers GET /api/tags: the models that there are.
func (s *Server) ollamaTags(w http.ResponseWriter, _ *http.Request) error {
	type item struct {
		ollamaModel
		Modified time.Time `json:"modified_at"`
	}
	list := []item{}
	for _, e := range s.models.entries {
		list = append(list, item{e.ollama(), e.created.UTC()})
	}
	writeJSON(w, http.StatusOK, map[string]any{"models": list})
	return nil
}

// never is when a model expires that stays until its memory is needed.
var never = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// ollamaRunning answers GET /api/ps: the models that are loaded.
func (s *Server) ollamaRunning(w http.ResponseWriter, _ *http.Request) error {
	type item struct {
		ollamaModel
		Expires time.Time `json:"expires_at"`
		VRAM    int64     `json:"size_vram"`
		Context int       `json:"context_length"`
	}
	list := []item{}
	r := s.models
	r.mu.Lock()
	for _, e := range r.entries {
		if e.m == nil {
			continue
		}
		it := item{ollamaModel: e.ollama(), Expires: never, Context: e.m.sched.Context()}
		if keep := r.keptFor(e); keep >= 0 && keep < 1000*time.Hour {
			it.Expires = e.last.Add(keep).UTC()
		}
		list = append(list, it)
	}
	r.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"models": list})
	return nil
}

// ollamaShow answers POST /api/show.
func (s *Server) ollamaShow(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Model   string `json:"model"`
		Name    string `json:"name"` // before it was called model
		Verbose bool   `json:"verbose"`
	}
	if err := read(r, &req); err != nil {
		return err
	}
	if req.Model == "" {
		req.Model = req.Name
	}
	if req.Model == "" {
		return bad("model", "model is required")
	}
	e, err := s.models.find(req.Model)
	if err != nil {
		return err
	}
	can := []string{"completion", "embedding"}
	if e.tools {
		can = append(can, "tools")
	}
	if e.tags.open != "" {
		can = append(can, "thinking")
	}
	c, p := &e.config, &e.sampling
	writeJSON(w, http.StatusOK, map[string]any{
		"modelfile": "FROM " + e.name + "\n", "license": "", "template": e.templateText, "capabilities": can,
		"details": e.details(), "modified_at": e.created.UTC(),
		"parameters": fmt.Sprintf("temperature %g\ntop_p %g\ntop_k %d\nmin_p %g", p.Temperature, p.TopP, p.TopK, p.MinP),
		"model_info": map[string]any{
			"general.architecture": e.family, "general.basename": e.name, "general.parameter_count": e.parameters,
			e.family + ".context_length": e.context, e.family + ".embedding_length": c.HiddenSize, e.family + ".block_count": c.Layers,
			e.family + ".feed_forward_length": c.IntermediateSize, e.family + ".attention.head_count": c.Heads,
			e.family + ".attention.head_count_kv": c.KVHeads, e.family + ".rope.freq_base": c.RopeTheta, e.family + ".vocab_size": c.VocabSize,
		},
	})
	return nil
}

// embedModel is what both calls for embeddings have. Their options are ignored: none of them changes a vector.
type embedModel struct {
	Model     string         `json:"model"`
	KeepAlive keepAliveValue `json:"keep_alive"`
}

// ollamaEmbed answers POST /api/embed.
func (s *Server) ollamaEmbed(w http.ResponseWriter, r *http.Request) error {
	start := time.Now()
	var req struct {
		embedModel
		Input      texts  `json:"input"`
		Truncate   bool   `json:"truncate"`
		Dimensions *whole `json:"dimensions"`
	}
	if err := read(r, &req); err != nil {
		return err
	}
	vectors, n, err := s.ollamaVectors(r, &req.embedModel, req.Input, req.Dimensions, req.Truncate)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"model": cmp.Or(req.Model, tagged(s.models.entries[0].name)), "embeddings": vectors, "total_duration": time.Since(start).Nanoseconds(), "load_duration": 0, "prompt_eval_count": n,
	})
	return nil
}

// ollamaEmbeddings answers POST /api/embeddings, the older call for one text.
func (s *Server) ollamaEmbeddings(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		embedModel
		Prompt string `json:"prompt"`
	}
	if err := read(r, &req); err != nil {
		return err
	}
	var input texts
	if req.Prompt != "" {
		input = texts{req.Prompt}
	}
	vectors, _, err := s.ollamaVectors(r, &req.embedModel, input, nil, false)
	if err != nil {
		return err
	}
	one := []float32{}
	if len(vectors) > 0 {
		one = vectors[0]
	}
	writeJSON(w, http.StatusOK, map[string]any{"embedding": one})
	return nil
}

// ollamaVectors are the embeddings of input; without any, the model is loaded only.
func (s *Server) ollamaVectors(r *http.Request, req *embedModel, input texts, dimensions *whole, cut bool) ([][]float32, int, error) {
	list := make(prompts, len(input))
	for i, t := range input {
		list[i] = prompt{text: t}
	}
	if len(list) > maxInputs {
		return nil, 0, bad("input", "%d inputs; there may be %d", len(list), maxInputs)
	}
	m, release, err := s.models.get(r.Context(), req.Model)
	if err != nil {
		return nil, 0, err
	}
	defer release()
	if e, err := s.models.find(req.Model); err == nil {
		s.keep(e, req.KeepAlive)
	}
	if d := dimensions; d != nil && *d != 0 && int(*d) != m.card.embeddingSize {
		return nil, 0, bad("dimensions", "dimensions is %d; the embeddings of this model have %d, and cannot be shortened", *d, m.card.embeddingSize)
	}
	for i, p := range list {
		if p.text == "" {
			return nil, 0, bad("input", "input %d is empty", i)
		}
		if ids, limit := m.promptIDs(p, true), m.sched.Context(); cut && len(ids) > limit {
			s.cfg.Log.Warn("a text was cut to be embedded, as its request allows", "tokens", len(ids), "kept", limit)
			list[i] = prompt{ids: ids[:limit]}
		}
	}
	if len(list) == 0 {
		return [][]float32{}, 0, nil
	}
	return m.embed(r.Context(), tenant(r), list)
}
