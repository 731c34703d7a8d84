package serve

import (
	"cmp"
	"net/http"
)

// modelObject is a model in OpenAI's shape, with what Leo adds.
type modelObject struct {
	ID            string         `json:"id"`
	Object        string         `json:"object"`
	Created       int64          `json:"created"`
	OwnedBy       string         `json:"owned_by"`
	Root          string         `json:"root,omitempty"`   // vLLM's name for the model below an adapter
	Parent        *string        `json:"parent,omitempty"` // the same
	ContextLength int            `json:"context_length"`
	MaxModelLen   int            `json:"max_model_len"` // vLLM's name for it
	Parameters    int64          `json:"parameters"`
	Loaded        bool           `json:"loaded"`
	Defaults      map[string]any `json:"defaults"`
}

func (r *registry) object(e *entry) modelObject {
	p := &e.sampling
	o := modelObject{
		ID: e.name, Object: "model", Created: e.created.Unix(), OwnedBy: "leo", ContextLength: e.context, MaxModelLen: e.context,
		Parameters: e.parameters,
		Defaults: map[string]any{
			"temperature": p.Temperature, "top_p": p.TopP, "top_k": p.TopK, "min_p": p.MinP, "repeat_penalty": cmp.Or(p.RepetitionPenalty, 1),
		},
	}
	if e.base != nil {
		o.Root, o.Parent = e.base.name, &e.base.name
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.m != nil {
		o.Loaded, o.ContextLength, o.MaxModelLen = true, e.m.sched.Context(), e.m.sched.Context()
	}
	return o
}

// listModels answers GET /v1/models.
func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) error {
	data := []modelObject{}
	for _, e := range s.models.entries {
		data = append(data, s.models.object(e))
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": data})
	return nil
}

// showModel answers GET /v1/models/NAME.
func (s *Server) showModel(w http.ResponseWriter, r *http.Request) error {
	e, err := s.models.find(r.PathValue("name"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.models.object(e))
	return nil
}
