package serve

import (
	"context"
	"net/http"
	"time"

	"leolm/infer"
)

// public are the routes that are answered whoever asks and in whatever state the server is.
var public = map[string]bool{"GET /livez": true, "GET /readyz": true, "GET /health": true}

// keyless are further routes that need no key: the files of the page, which hold no data.
var keyless = map[string]bool{"GET /{$}": true, "GET /assets/": true}

// Load loads the model that answers requests without a name, lets it write one token, and returns what a person should
// know about it. From then on the server is ready.
func (s *Server) Load(ctx context.Context) ([]string, error) {
	m, release, err := s.models.get(ctx, "")
	if err != nil {
		return nil, err
	}
	defer release()
	if err := m.warm(ctx); err != nil {
		return nil, err
	}
	s.loaded.Store(true)
	return m.Notes, nil
}

// warm lets the model write one token: weights come from the disk, and kernels are chosen.
func (m *model) warm(ctx context.Context) error {
	id := max(m.Tokenizer.BOS(), 0)
	tickets, err := m.sched.Submit(ctx, func() infer.Text { return m.Tokenizer.NewDecoder(true) },
		&infer.Request{Prompt: []int32{id}, MaxNewTokens: 1, TopLogProbs: -1, Tenant: "\x00warm"})
	if err != nil {
		return err
	}
	_, err = tickets[0].Result()
	return err
}

// unready says why the server should get no requests, or "".
func (s *Server) unready() string {
	switch {
	case s.draining.Load():
		return "draining"
	case !s.loaded.Load():
		return "loading"
	}
	return ""
}

// livez answers GET /livez: the process runs.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

// readyz answers GET /readyz: the first model is loaded, and the server is not about to end.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	if why := s.unready(); why != "" {
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": why})
		return nil
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

// health answers GET /health as llama.cpp's server does.
func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	why := s.unready()
	if why == "" {
		return s.readyz(w, r)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", "1")
	message := "Loading model"
	if why == "draining" {
		message = "the server is stopping"
	}
	writeJSON(w, http.StatusServiceUnavailable, map[string]any{
		"error": map[string]any{"code": http.StatusServiceUnavailable, "message": message, "type": "unavailable_error"},
	})
	return nil
}

// refuseNew is the answer to new requests while the running ones come to their end.
func (s *Server) refuseNew() error {
	if !s.stopping.Load() {
		return nil
	}
	return &Error{Status: http.StatusServiceUnavailable, Message: "the server is stopping", Code: "stopping", RetryAfter: 5 * time.Second}
}
