// Package serve is the HTTP server over models: OpenAI's API, Ollama's, a few calls of llama.cpp and vLLM for tokens and
// templates, the web page, and what operating a server takes.
//
// It owns requests and responses on the wire, which models are loaded, who may ask and how much, and what is measured. It
// runs nothing itself: package open opens models, the scheduler of package infer answers, package chat writes prompts.
//
// A request is checked whole before anything of its answer is sent. What a client did wrong is a status of 400 to 499 with
// an error of OpenAI's shape; nothing is cut to fit silently. Text of users never becomes a control token, and no request
// makes the server open a file or ask another host.
package serve

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config describes a Server.
type Config struct {
	// Models can be asked for; the first answers requests that name none. Without any, the embedded model is served.
	Models []Source
	// MaxLoaded is how many models are in memory at a time; 0 means as many as there is memory for. Adapters that share
	// the weights of a loaded model do not count.
	MaxLoaded int
	// KeepAlive is how long an idle model stays in memory; 0 means until its memory is needed.
	KeepAlive time.Duration
	// Parallel is how many answers of a model are written together (default 64); others wait, up to Queue requests (default
	// 256) or QueueTokens tokens of prompts (default: no bound).
	Parallel, Queue, QueueTokens int

	// MaxBody is the largest body of a request in bytes (default 8 MiB).
	MaxBody int64
	// WriteTimeout is how long a client may take to accept a piece of an answer (default 30 s).
	WriteTimeout time.Duration
	// Log gets one record for each request, without any text of it. Default: slog.Default().
	Log *slog.Logger
}

func (c *Config) defaults() {
	if len(c.Models) == 0 {
		c.Models = []Source{{}}
	}
	if c.Parallel <= 0 {
		c.Parallel = 64
	}
	if c.Queue <= 0 {
		c.Queue = 256
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 8 << 20
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
}

// Server answers HTTP requests with models. It is safe for concurrent use.
type Server struct {
	cfg    Config
	models *registry
	routes http.Handler
	// turn is held during each pass of any model: they share the processors, and some of them their weights.
	turn sync.Mutex
}

// New checks the models of cfg and returns a server. Models are loaded when they are first asked for, or by Load.
func New(ctx context.Context, cfg Config) (*Server, error) {
	cfg.defaults()
	s := &Server{cfg: cfg}
	var err error
	if s.models, err = newRegistry(ctx, s); err != nil {
		return nil, err
	}
	s.routes = s.newRoutes()
	return s, nil
}

// Load loads the model that answers requests without a name, and returns what a person should know about it.
func (s *Server) Load(ctx context.Context) ([]string, error) {
	m, release, err := s.models.get(ctx, "")
	if err != nil {
		return nil, err
	}
	defer release()
	return m.Notes, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// Close ends all answers and frees all models.
func (s *Server) Close() error { return s.models.close() }

// newRoutes makes the routes of the table, and answers of errors for all else.
func (s *Server) newRoutes() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range s.table() {
		mux.Handle(pattern, s.handle(h))
	}
	mux.Handle("/", s.handle(notFound(mux)))
	return mux
}

// table says which handler answers which method and path.
func (s *Server) table() map[string]handler {
	return map[string]handler{
		"POST /v1/chat/completions": s.chatCompletions,
		"POST /v1/completions":      s.completions,
		"POST /v1/embeddings":       s.embeddings,
		"POST /v1/responses":        s.responses,
		"GET /v1/models":            s.listModels,
		"GET /v1/models/{name...}":  s.showModel,
		"POST /tokenize":            s.tokenize,
		"POST /detokenize":          s.detokenize,
		"POST /apply-template":      s.applyTemplate,
		"GET /openapi.json":         s.openAPI,

		"GET /{$}":             s.root,
		"GET /api/version":     s.ollamaVersion,
		"GET /api/tags":        s.ollamaTags,
		"GET /api/ps":          s.ollamaRunning,
		"POST /api/show":       s.ollamaShow,
		"POST /api/chat":       s.ollamaChat,
		"POST /api/generate":   s.ollamaGenerate,
		"POST /api/embed":      s.ollamaEmbed,
		"POST /api/embeddings": s.ollamaEmbeddings,
		"POST /api/pull":       s.notManaged,
		"POST /api/push":       s.notManaged,
		"POST /api/create":     s.notManaged,
		"POST /api/copy":       s.notManaged,
		"DELETE /api/delete":   s.notManaged,
	}
}

// handler answers a request, or returns the error that is the answer. Once it has begun to write, it must return nil.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle turns a handler into an http.Handler: it bounds the body, writes errors, and survives a panic.
func (s *Server) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := &tracked{ResponseWriter: w}
		if r.ContentLength > s.cfg.MaxBody { // before the body is touched: then a client that asks first doesn't send it
			s.fail(started, r, tooLarge(s.cfg.MaxBody))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, s.cfg.MaxBody)
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.cfg.Log.Error("a handler panicked", "path", r.URL.Path, "panic", p)
			if started.status != 0 {
				panic(http.ErrAbortHandler) // the client sees a broken answer, not a complete one
			}
			s.fail(started, r, &Error{Status: http.StatusInternalServerError, Message: "the server made a mistake; its log says which"})
		}()
		if err := h(started, r); err != nil {
			s.fail(started, r, err)
		}
	})
}

// fail writes err as the response.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) {
		err = &Error{Status: statusClientGone, Message: "the client closed the connection"}
	}
	e := *asError(err)
	if e.Status >= 500 {
		s.cfg.Log.Error("request failed", "status", e.Status, "error", err)
	}
	e.short = isOllama(r.URL.Path)
	e.write(w)
}

// tracked notes the status that was written.
type tracked struct {
	http.ResponseWriter
	status int
}

func (t *tracked) WriteHeader(status int) {
	if t.status == 0 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	return t.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// notFound says what is wrong with a request that no route takes: its method or its path.
func notFound(mux *http.ServeMux) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if allowed := methods(mux, r.URL); len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			return &Error{Status: http.StatusMethodNotAllowed, Message: r.Method + " " + r.URL.Path + ": use " + strings.Join(allowed, " or ")}
		}
		return &Error{Status: http.StatusNotFound, Message: "there is nothing at " + r.Method + " " + r.URL.Path}
	}
}

// methods are those that a path can be asked with.
func methods(mux *http.ServeMux, url *url.URL) []string {
	var all []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if _, pattern := mux.Handler(&http.Request{Method: method, URL: url}); pattern != "/" && pattern != "" {
			all = append(all, method)
		}
	}
	return all
}
