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
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"leolm/serve/apikey"
	"leolm/serve/page"
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
	// BodyTimeout is how long a client may take to send a body (default 1 min).
	BodyTimeout time.Duration
	// Log gets one record for each request, without any text of it. Default: slog.Default().
	Log *slog.Logger
	// Texts, if not nil, gets the bodies of requests and responses.
	Texts *TextLog
	// Tracer, if not nil, makes spans of requests: their time in the queue, reading the prompt, and writing.
	Tracer trace.TracerProvider
	// MetricNames is LeoNames (default) or VLLMNames.
	MetricNames string

	// Keys, if not nil, are needed for everything but health and the files of the page. Their names are tenants.
	Keys *apikey.File
	// OpenMetrics lets GET /metrics be asked without a key.
	OpenMetrics bool
	// Debug lets administrators' keys ask for profiles of the program below /debug/pprof/.
	Debug bool
	// Local says that only this machine reaches the server: then it is called by local names and those of Hosts only. For
	// others, Hosts are all its names; none means any.
	Local bool
	Hosts []string
	// Origins are those whose pages may use the server from a browser, such as https://example.org; "*" is all. The
	// server's own pages always may.
	Origins []string
	// PathPrefix is below which path the server is reached, such as /llm.
	PathPrefix string
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
	if c.BodyTimeout <= 0 {
		c.BodyTimeout = time.Minute
	}
	if c.MetricNames == "" {
		c.MetricNames = LeoNames
	}
	c.PathPrefix = strings.TrimRight(c.PathPrefix, "/")
	if c.Log == nil {
		c.Log = slog.Default()
	}
}

// Server answers HTTP requests with models. It is safe for concurrent use.
type Server struct {
	cfg      Config
	models   *registry
	mux      *http.ServeMux
	patterns []string // of mux
	metrics  *metrics
	loaded   atomic.Bool  // the first model has written a token
	draining atomic.Bool  // the server is about to end
	stopping atomic.Bool  // and takes no new requests
	busy     atomic.Int64 // requests that are being answered, probes left out
	// turn is held during each pass of any model: they share the processors, and some of them their weights.
	turn sync.Mutex
}

// New checks the models of cfg and returns a server. Models are loaded when they are first asked for, or by Load.
func New(ctx context.Context, cfg Config) (*Server, error) {
	cfg.defaults()
	if _, ok := dialects[cfg.MetricNames]; !ok {
		return nil, fmt.Errorf("there are no metrics with the names of %q; use %s or %s", cfg.MetricNames, LeoNames, VLLMNames)
	}
	if p := cfg.PathPrefix; p != "" && (p[0] != '/' || path.Clean(p) != p || strings.ContainsAny(p, "{}?#% ")) {
		return nil, fmt.Errorf("%q is no path prefix; it begins with a slash, as in /llm", p)
	}
	s := &Server{cfg: cfg}
	var err error
	if s.models, err = newRegistry(ctx, s); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(s, cfg.MetricNames)
	s.mux = s.newRoutes()
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, ok := s.below(w, r)
	if !ok {
		return
	}
	x, r := s.begin(w, r)
	defer x.end()
	if done, err := s.admit(x); err != nil {
		s.fail(x.w, r, err)
	} else if !done {
		s.mux.ServeHTTP(x.w, r)
	}
}

// Close ends all answers and frees all models.
func (s *Server) Close() error { return s.models.close() }

// newRoutes makes the routes of the table, the page, what else is no JSON, and answers of errors for all else.
func (s *Server) newRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	add := func(pattern string, h http.Handler) {
		mux.Handle(pattern, h)
		s.patterns = append(s.patterns, pattern)
	}
	for pattern, h := range s.table() {
		add(pattern, s.handle(h))
	}
	files := page.Handler()
	add("GET /{$}", files)
	add("GET /assets/", files)
	add("GET /metrics", s.showMetrics())
	if s.cfg.Debug && s.cfg.Keys != nil {
		add("GET /debug/pprof/", http.HandlerFunc(pprof.Index))
		add("GET /debug/pprof/profile", http.HandlerFunc(pprof.Profile))
		add("GET /debug/pprof/trace", http.HandlerFunc(pprof.Trace))
	}
	add("/", s.handle(notFound(mux)))
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
		"GET /livez":                s.livez,
		"GET /readyz":               s.readyz,
		"GET /health":               s.health,

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
		started := w.(*tracked) // by ServeHTTP
		r.Body = http.MaxBytesReader(w, r.Body, s.cfg.MaxBody)
		defer func() {
			if p := recover(); p != nil {
				s.panicked(started, r, p)
			}
		}()
		if err := h(started, r); err != nil {
			s.fail(started, r, err)
		}
	})
}

// panicked ends the response of a handler that has panicked. A stream gets an error as its last event; whatever has begun is
// cut off, so that no client takes it for complete.
func (s *Server) panicked(w *tracked, r *http.Request, p any) {
	if p == http.ErrAbortHandler {
		panic(p)
	}
	w.failed = http.StatusInternalServerError
	s.cfg.Log.Error("a handler panicked", "route", exchangeOf(r.Context()).routeName(), "panic", p, "stack", string(debug.Stack()))
	e := &Error{Status: http.StatusInternalServerError, Message: "the server made a mistake; its log says which"}
	if w.status == 0 {
		s.fail(w, r, e)
		return
	}
	st := &stream{w: w, rc: http.NewResponseController(w)}
	switch kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";"); kind {
	case "text/event-stream":
		_ = st.data(e)
	case ndjson:
		_ = st.line(map[string]string{"error": e.Message})
	}
	panic(http.ErrAbortHandler)
}

// fail writes err as the response.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && s.models.ctx.Err() == nil {
		err = &Error{Status: statusClientGone, Message: "the client closed the connection"}
	}
	e := *asError(err)
	if e.Status >= 500 {
		s.cfg.Log.Error("request failed", "status", e.Status, "error", err)
	}
	e.short = isOllama(r.URL.Path)
	e.write(w)
}

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
