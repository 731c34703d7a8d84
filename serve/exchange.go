package serve

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"leolm/infer"
	"leolm/serve/apikey"
)

// exchange is a request with its response as logs, metrics, traces and limits see it: ids and numbers, no text. Its methods
// do nothing for nil, which work has that no client asked for.
type exchange struct {
	s      *Server
	id     string
	r      *http.Request
	w      *tracked
	route  string // the pattern that matched
	start  time.Time
	key    *apikey.Key
	use    *apikey.Use // nil without a key, and for what costs nothing
	span   trace.Span
	copied *textCopy // nil unless texts are logged

	mu        sync.Mutex
	model     string // a configured name, or "other"
	submitted time.Time
	first     time.Time
	last      map[int]time.Time // of the last token of each choice
	prompt    int
	cached    int
	generated int
	counters  *modelMetrics // of model
}

type exchangeKey struct{}

// exchangeOf returns the exchange that ctx belongs to, or nil.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// validID is a request id that is passed on as it came.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}$`)

// begin starts an exchange, and returns the request with it in its context.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) (*exchange, *http.Request) {
	x := &exchange{s: s, id: r.Header.Get("X-Request-Id"), start: time.Now(), last: map[int]time.Time{}}
	if !validID.MatchString(x.id) {
		x.id = newID("req-")
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx = context.WithValue(ctx, exchangeKey{}, x)
	_, x.route = s.mux.Handler(r)
	if s.cfg.Tracer != nil {
		ctx, x.span = s.cfg.Tracer.Tracer("leolm/serve").Start(ctx, x.routeName(), trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("http.route", x.route)))
	}
	x.r = r.WithContext(ctx)
	rc := http.NewResponseController(w)
	if r.ContentLength != 0 {
		_ = rc.SetReadDeadline(time.Now().Add(s.cfg.BodyTimeout)) // a recorder in a test has none
		x.r.Body = &timedBody{x.r.Body, rc}
	}
	x.w = &tracked{ResponseWriter: w, rc: rc, timeout: s.cfg.WriteTimeout}
	x.w.Header().Set("X-Request-Id", x.id)
	if s.cfg.Texts != nil {
		x.copied = &textCopy{}
		x.w.copied = &x.copied.response
		x.r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(x.r.Body, &x.copied.request), x.r.Body}
	}
	s.metrics.inFlight.Inc()
	if !public[x.route] {
		s.busy.Add(1)
	}
	return x, x.r
}

// routeName names the route for logs, metrics and traces: not the path, which a client chooses.
func (x *exchange) routeName() string {
	if x.route == "/" || x.route == "" {
		return "other"
	}
	return x.route
}

// end sees to it that what has been written is sent, and reports the exchange.
func (x *exchange) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.use != nil {
		x.use.End(x.prompt + x.generated)
	}
	x.w.finish()
	x.s.metrics.inFlight.Dec()
	if !public[x.route] {
		defer x.s.busy.Add(-1) // a server that stops waits until all is reported
	}
	status := x.outcome()
	took := time.Since(x.start)
	x.s.metrics.finished(x, status, took)
	x.log(status, took)
	if x.copied != nil {
		x.s.cfg.Texts.add(x.id, x.copied, x.s.cfg.Log)
	}
	if x.span != nil {
		x.span.SetAttributes(attribute.Int("http.response.status_code", status), attribute.String("gen_ai.request.model", x.model),
			attribute.Int("gen_ai.usage.input_tokens", x.prompt), attribute.Int("gen_ai.usage.output_tokens", x.generated))
		if status >= 500 {
			x.span.SetStatus(codes.Error, "")
		}
		x.span.End()
	}
}

// outcome is what became of the request, whatever its header said: what could not be written did not arrive, and a stream
// may end with an error.
func (x *exchange) outcome() int {
	switch {
	case x.w.err != nil, x.w.status == 0:
		return statusClientGone
	case x.w.failed != 0:
		return x.w.failed
	}
	return x.w.status
}

// log writes one record, without any text of the request or the answer.
func (x *exchange) log(status int, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case public[x.route]:
		level = slog.LevelDebug // probes come every few seconds
	case status >= 500:
		level = slog.LevelError
	case x.w.err != nil:
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("id", x.id), slog.String("method", method(x.r.Method)), slog.String("route", x.routeName()), slog.Int("status", status),
		slog.Int64("bytes", x.w.bytes), slog.Float64("seconds", took.Seconds()),
	}
	add := func(ok bool, a ...slog.Attr) {
		if ok {
			attrs = append(attrs, a...)
		}
	}
	host, _, err := net.SplitHostPort(x.r.RemoteAddr)
	add(err == nil, slog.String("remote", host))
	add(x.key != nil, slog.String("key", tenant(x.r)))
	add(x.model != "", slog.String("model", x.model))
	add(x.prompt > 0, slog.Int("prompt_tokens", x.prompt), slog.Int("cached_tokens", x.cached), slog.Int("tokens", x.generated))
	add(!x.first.IsZero(), slog.Float64("first_token_seconds", x.first.Sub(x.start).Seconds()))
	add(x.w.err != nil, slog.Any("write_error", x.w.err))
	add(status != x.w.status, slog.Int("status_sent", x.w.status))
	span := trace.SpanContextFromContext(x.r.Context())
	add(span.HasTraceID(), slog.String("trace_id", span.TraceID().String()))
	x.s.cfg.Log.LogAttrs(context.Background(), level, "request", attrs...)
}

// method is a method of HTTP; clients may send any word.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// counts are the metrics of the model that was asked for. x.mu is held.
func (x *exchange) counts() *modelMetrics {
	if x.counters == nil {
		x.counters = x.s.metrics.model(x.model)
	}
	return x.counters
}

// asks notes the model that is asked for.
func (x *exchange) asks(name string) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.model, x.counters = name, nil
}

// reserve takes the tokens that a part of the request may need from the key's limit: those of its prompt, and up to answers
// new ones. An error says that the key may not use so many.
func (x *exchange) reserve(prompt, answers int) error {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.submitted.IsZero() {
		x.submitted = time.Now()
	}
	if x.use == nil {
		return nil
	}
	err := x.use.Reserve(prompt, prompt+answers)
	x.limitHeaders()
	return err
}

// reads notes that a prompt is read.
func (x *exchange) reads(prompt int) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.prompt += prompt
	x.counts().prompt.Add(float64(prompt))
}

// limitHeaders says what is left of the key's limits, in OpenAI's words.
func (x *exchange) limitHeaders() {
	h := x.w.Header()
	requests, tokens := x.use.State()
	for what, s := range map[string]apikey.State{"Requests": requests, "Tokens": tokens} {
		if s.Limit > 0 {
			h.Set("X-Ratelimit-Limit-"+what, strconv.Itoa(s.Limit))
			h.Set("X-Ratelimit-Remaining-"+what, strconv.Itoa(s.Remaining))
			h.Set("X-Ratelimit-Reset-"+what, s.Reset.Round(time.Millisecond).String())
		}
	}
}

// token notes a token of an answer.
func (x *exchange) token(choice int) {
	if x == nil {
		return
	}
	now := time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.generated++
	x.counts().generated.Inc()
	if x.first.IsZero() {
		x.first = now
		x.counts().first.Observe(now.Sub(x.start).Seconds())
	}
	if last, ok := x.last[choice]; ok {
		x.counts().between.Observe(now.Sub(last).Seconds())
	}
	x.last[choice] = now
}

// answered notes the end of an answer.
func (x *exchange) answered(choice int, r *infer.Result) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cached = max(x.cached, r.Stats.CachedTokens)
	x.counts().finished(finish(r))
	if x.span == nil {
		return
	}
	tracer := x.s.cfg.Tracer.Tracer("leolm/serve")
	at := x.submitted
	for _, part := range []struct {
		name string
		took time.Duration
	}{{"queue", r.Stats.QueueTime}, {"prefill", r.Stats.PrefillTime - r.Stats.QueueTime}, {"decode", r.Stats.DecodeTime}} {
		_, span := tracer.Start(x.r.Context(), part.name, trace.WithTimestamp(at), trace.WithAttributes(attribute.Int("choice", choice)))
		at = at.Add(max(0, part.took))
		span.End(trace.WithTimestamp(at))
	}
}

// timedBody takes the deadline off a connection once its request has been read: from then on it is watched for a client
// that goes away, however long the answer takes. A body that nobody reads to its end keeps it, because the server then does.
type timedBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// tracked is a ResponseWriter that notes what was written, and gives a client a bounded time for each piece of it.
type tracked struct {
	http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	status  int
	bytes   int64
	err     error         // of the first write that failed
	failed  int           // the status of an error that came after the header
	copied  *cappedBuffer // gets a copy, if not nil
}

// writePiece is what a client must take within the time for a write.
const writePiece = 64 << 10

func (t *tracked) WriteHeader(status int) {
	if t.status == 0 && status >= 200 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	if t.copied != nil {
		_, _ = t.copied.Write(b) // never fails
	}
	n := 0
	for {
		end := min(len(b), n+writePiece)
		_ = t.rc.SetWriteDeadline(time.Now().Add(t.timeout)) // a recorder in a test has none
		k, err := t.ResponseWriter.Write(b[n:end])
		n += k
		t.bytes += int64(k)
		if err != nil {
			t.err = firstError(t.err, err)
			return n, err
		}
		if n == len(b) {
			return n, nil
		}
	}
}

// FlushError is what http.ResponseController calls.
func (t *tracked) FlushError() error {
	_ = t.rc.SetWriteDeadline(time.Now().Add(t.timeout))
	err := t.rc.Flush()
	if err != nil && err != http.ErrNotSupported && !strings.Contains(err.Error(), http.ErrNotSupported.Error()) {
		t.err = firstError(t.err, err)
		return err
	}
	return nil
}

// Unwrap lets http.ResponseController reach the connection.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// finish sends what is still in a buffer, so that an error is seen before the exchange is logged.
func (t *tracked) finish() {
	if t.status != 0 && t.err == nil {
		_ = t.FlushError() // noted
	}
	_ = t.rc.SetWriteDeadline(time.Time{}) // the connection may be used again
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// cappedBuffer keeps the first bytes that are written to it.
type cappedBuffer struct {
	buf bytes.Buffer
	cut bool
}

// maxCopied is how much of a body is kept.
const maxCopied = 1 << 20

func (c *cappedBuffer) Write(b []byte) (int, error) {
	if room := maxCopied - c.buf.Len(); len(b) > room {
		c.buf.Write(b[:room])
		c.cut = true
	} else {
		c.buf.Write(b)
	}
	return len(b), nil
}
