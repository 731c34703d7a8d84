package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/device"
	"leolm/infer"
	"leolm/internal/constrain"
	"leolm/open"
	"leolm/sample"
	"leolm/tensor"
)

// Source is a model that can be asked for.
type Source struct {
	// Name is what clients call it; "" is the name of its file or folder.
	Name string
	// Arg is the model argument: a folder, a GGUF file, a Hugging Face id, an embedded model.
	Arg string
	// Options are how it is opened. The room for answers is chosen by Config.Parallel unless they say it.
	Options open.Options
	// Adapters are further models: this one with an adapter each, whose weights it shares.
	Adapters []AdapterSource
}

// AdapterSource is a LoRA adapter that can be asked for like a model.
type AdapterSource struct {
	Name string // "" is the name of its file or folder
	catalog.AdapterSpec
}

// card is what is known of a model before it is loaded.
type card struct {
	name          string
	created       time.Time
	context       int // of its engine
	family        string
	parameters    int64
	bytes         int64
	fingerprint   string
	file          string // "gguf" or "safetensors"
	template      string // where the chat template comes from
	templateText  string
	sampling      sample.Preset
	embeddingSize int
	vocab         int // ids that requests may name
	config        checkpoint.Config
	quantization  string // the type of most weights, such as "Q4_0"
	tags          tags   // around thoughts
	tools         bool   // the template shows tools to the model
}

// systemFingerprint names the weights that answer, in OpenAI's field of that name.
func (c *card) systemFingerprint() string { return "leo-" + c.fingerprint }

// model is a loaded model with its scheduler.
type model struct {
	*open.Model
	card  *card
	sched *infer.Scheduler
	stop  func() error // ends the scheduler and frees the model

	vocab    func() *constrain.Vocabulary
	mu       sync.Mutex
	matchers []*compiled // most recently used last
	free     []uint64    // see freeMask
	// compiling has a place for each grammar that is being compiled, of any model.
	compiling chan struct{}
}

// entry is a model that can be asked for, in whatever state.
type entry struct {
	card
	src     Source
	base    *entry // of an adapter
	m       *model
	loading bool
	err     error         // why the last attempt to load failed
	retry   time.Time     // when to try again
	taking  bool          // it is being loaded, and has its place among Config.MaxLoaded
	pending int           // requests that wait until it is loaded: it stays until they have had it
	users   int           // requests and adapters that need m
	last    time.Time     // of use
	keep    time.Duration // in place of Config.KeepAlive
	keepSet bool
	past    infer.SchedulerStats // what the schedulers of its earlier lives have counted
}

// registry owns the models.
type registry struct {
	s       *Server
	ctx     context.Context // of all loaded models
	cancel  context.CancelFunc
	entries []*entry // in the order of Config.Models

	compiling chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed when anything below has changed
	turns   int           // requests that wait for room; those that come later wait behind them
	closed  bool
	done    sync.WaitGroup
}

// retryAfterFailure is how long a model that failed to load is not tried again.
const retryAfterFailure = 10 * time.Second

func newRegistry(ctx context.Context, s *Server) (*registry, error) {
	r := &registry{s: s, changed: make(chan struct{}), compiling: make(chan struct{}, compilesAtOnce)}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, src := range s.cfg.Models {
		e, err := r.describe(src, nil)
		if err != nil {
			return nil, err
		}
		e.src = src
		r.entries = append(r.entries, e)
		for _, a := range src.Adapters {
			with := src
			with.Name = cmp.Or(a.Name, baseName(a.Path))
			with.Options.Adapters = []catalog.AdapterSpec{a.AdapterSpec}
			ae, err := r.describe(with, e)
			if err != nil {
				return nil, err
			}
			ae.src, ae.base = with, e
			r.entries = append(r.entries, ae)
		}
	}
	for i, e := range r.entries {
		if slices.ContainsFunc(r.entries[:i], func(o *entry) bool { return o.name == e.name }) {
			return nil, fmt.Errorf("two models are named %q", e.name)
		}
	}
	r.done.Go(r.sweepIdle)
	return r, nil
}

// describe opens the files of a model, to see that they are there and what they hold.
func (r *registry) describe(src Source, base *entry) (*entry, error) {
	m, err := catalog.Open(src.Arg, catalog.Options{Template: src.Options.Template, Tokenizer: src.Options.Tokenizer, Adapters: src.Options.Adapters})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if !m.Checkpoint.HasWeights() {
		return nil, fmt.Errorf("%s has a vocabulary but no weights", m.Name)
	}
	cfg := m.Config()
	context := src.Options.Context
	if context == 0 {
		context = min(cfg.MaxPositions, open.DefaultContext)
	}
	e := &entry{card: card{
		name: src.Name, created: time.Now(), context: context, family: "llama",
		bytes: m.Checkpoint.Size(), fingerprint: m.Fingerprint(), file: "safetensors", template: m.TemplateSource,
		templateText: m.Template.Source(), sampling: m.Sampling, embeddingSize: cfg.HiddenSize, config: cfg, vocab: min(cfg.VocabSize, m.Tokenizer.Used()),
		tags: tagsOf(m.Template.Source()), tools: knowsTools(m.Template),
	}}
	most := map[tensor.DType]int64{}
	for _, t := range m.Checkpoint.Tensors() {
		n := int64(t.Rows()) * int64(t.Cols())
		e.parameters += n
		most[t.DType] += n
	}
	var largest int64
	for t, n := range most {
		if n > largest {
			largest, e.quantization = n, strings.ToUpper(t.String())
		}
	}
	if e.name == "" {
		e.name = nameOf(src.Arg, m.Name)
	}
	if files := m.Checkpoint.Files; len(files) > 0 {
		if info, err := os.Stat(files[0]); err == nil {
			e.created = info.ModTime()
		}
	}
	if m.Checkpoint.GGUF != nil {
		e.file = "gguf"
	}
	if base != nil {
		e.created = base.created
	}
	return e, nil
}

// nameOf is the API's name of a model: its file's or folder's, or the whole id of a model from the hub.
func nameOf(arg, name string) string {
	if arg == "" {
		return name
	}
	if _, err := os.Stat(arg); err == nil {
		return baseName(arg)
	}
	return arg
}

// baseName is the last element of a path without ".gguf".
func baseName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return strings.TrimSuffix(filepath.Base(path), ".gguf")
}

// find returns the entry of a name; "" is the first model.
func (r *registry) find(name string) (*entry, error) {
	if name == "" {
		return r.entries[0], nil
	}
	var names []string
	for _, e := range r.entries {
		// Ollama's clients add a tag.
		if e.name == name || e.name+":latest" == name {
			return e, nil
		}
		names = append(names, e.name)
	}
	return nil, &Error{
		Status: http.StatusNotFound, Param: "model", Code: "model_not_found",
		Message: fmt.Sprintf("the model %q does not exist; there are: %s", name, strings.Join(names, ", ")),
	}
}

// broadcast wakes all who wait for a change. r.mu is held.
func (r *registry) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// wait waits for a change; r.mu is held before and after.
func (r *registry) wait(ctx context.Context) error {
	ch := r.changed
	r.mu.Unlock()
	defer r.mu.Lock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
		return infer.ErrClosed
	case <-ch:
		return nil
	}
}

// get returns a loaded model, which stays so until release is called. Canceling ctx ends the waiting only: others may wait
// for the same model.
func (r *registry) get(ctx context.Context, name string) (*model, func(), error) {
	e, err := r.find(name)
	if err != nil {
		exchangeOf(ctx).asks(otherModel)
		return nil, nil, err
	}
	exchangeOf(ctx).asks(e.name)
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := false
	defer func() {
		if pending {
			e.pending--
			r.broadcast()
		}
	}()
	for {
		switch {
		case r.closed:
			return nil, nil, infer.ErrClosed
		case e.m != nil && (r.turns == 0 || pending):
			return e.m, r.hold(e), nil
		case e.m == nil && e.err != nil && time.Now().Before(e.retry):
			return nil, nil, e.failed()
		case e.m == nil && !e.loading:
			e.loading = true
			r.done.Go(func() { r.load(e) })
		}
		if e.m == nil && !pending {
			pending = true
			e.pending++
		}
		if err := r.wait(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// hold counts a user of e. r.mu is held.
func (r *registry) hold(e *entry) (release func()) {
	e.users++
	e.last = time.Now()
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		e.users--
		e.last = time.Now()
		r.broadcast()
	})
}

// failed is the error of a model that could not be loaded.
func (e *entry) failed() error {
	var short *device.MemoryError
	if errors.As(e.err, &short) {
		return e.err
	}
	return &Error{
		Status: http.StatusServiceUnavailable, Code: "model_failed", RetryAfter: time.Until(e.retry),
		Message: fmt.Sprintf("the model %q cannot be loaded: %v", e.name, e.err), cause: e.err,
	}
}

// load loads e; it is called by one goroutine at a time for each e.
func (r *registry) load(e *entry) {
	m, err := r.loadInto(e)
	r.mu.Lock()
	defer r.mu.Unlock()
	e.m, e.err, e.loading, e.taking, e.last = m, err, false, false, time.Now()
	if err != nil {
		e.retry = time.Now().Add(retryAfterFailure)
		r.s.cfg.Log.Error("a model cannot be loaded", "model", e.name, "error", err)
	}
	r.broadcast()
}

func (r *registry) loadInto(e *entry) (*model, error) {
	start := time.Now()
	var base *model
	release := func() {}
	if e.base != nil {
		var err error
		if base, release, err = r.get(r.ctx, e.base.name); err != nil {
			return nil, fmt.Errorf("its base: %w", err)
		}
	} else if err := r.makeRoom(e); err != nil {
		return nil, err
	}
	m, err := r.start(e, base, release)
	var short *device.MemoryError
	for errors.As(err, &short) && r.evictOne() {
		m, err = r.start(e, base, release)
	}
	if err != nil {
		release()
		return nil, err
	}
	r.s.cfg.Log.Info("loaded a model", "model", e.name, "context", m.sched.Context(), "cache_pages", m.sched.Stats().Pages,
		"seconds", time.Since(start).Seconds())
	return m, nil
}

// cachePage is the number of tokens in a page of the cache: short ones share prefixes finely.
const cachePage = 32

// start opens the files of e, and starts its scheduler. release is called when the model is freed.
func (r *registry) start(e *entry, base *model, release func()) (*model, error) {
	opt := e.src.Options
	if opt.Sessions == 0 && opt.CacheBytes == 0 {
		opt.Together = r.s.cfg.Parallel
	}
	if opt.PageLen == 0 {
		opt.PageLen = cachePage
	}
	var om *open.Model
	var err error
	if base != nil {
		om, err = base.Adapt(r.ctx, e.src.Arg, opt)
	} else {
		om, err = open.Open(r.ctx, e.src.Arg, opt)
	}
	if err != nil {
		return nil, err
	}
	m := &model{Model: om, card: &e.card, compiling: r.compiling}
	m.vocab = sync.OnceValue(func() *constrain.Vocabulary { return constrain.FromTokenizer(om.Tokenizer, om.StopIDs) })
	m.sched = infer.NewScheduler(om.Engine, infer.SchedulerOptions{
		MaxSequences: r.s.cfg.Parallel, Queue: r.s.cfg.Queue, QueueTokens: r.s.cfg.QueueTokens, Turn: &r.s.turn,
	})
	ctx, cancel := context.WithCancel(r.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.sched.Run(ctx); err != nil && ctx.Err() == nil {
			r.s.cfg.Log.Error("a model stopped", "model", e.name, "error", err)
			r.lost(e, err)
		}
	}()
	m.stop = func() error {
		cancel()
		<-ended
		defer release()
		return om.Close()
	}
	return m, nil
}

// lost forgets a model whose scheduler has failed, once nobody uses it.
func (r *registry) lost(e *entry, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := e.m
	if m == nil {
		return
	}
	e.m, e.err, e.retry = nil, err, time.Now().Add(retryAfterFailure)
	e.past = plusCounts(e.past, m.sched.Stats())
	r.done.Go(func() {
		r.mu.Lock()
		for e.users > 0 && r.ctx.Err() == nil {
			_ = r.wait(context.Background()) // a closed registry ends the loop as well
		}
		r.mu.Unlock()
		_ = m.stop() // the failure was reported already
	})
	r.broadcast()
}

// close ends all answers and frees all models.
func (r *registry) close() error {
	r.mu.Lock()
	r.closed = true
	r.broadcast()
	r.mu.Unlock()
	r.cancel()
	r.done.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, e := range slices.Backward(r.entries) { // adapters before their models
		if m := e.m; m != nil {
			e.m = nil
			r.mu.Unlock()
			errs = append(errs, m.stop())
			r.mu.Lock()
		}
	}
	return errors.Join(errs...)
}
