package serve

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"leolm/infer"
	"leolm/tokenizer"
)

// usage counts tokens in OpenAI's shape.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
	Details    struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// timings say how fast the first answer was, in llama.cpp's words; times are in milliseconds.
type timings struct {
	CachedN      int     `json:"cached_n"`
	PromptN      int     `json:"prompt_n"`
	PromptMS     float64 `json:"prompt_ms"`
	PredictedN   int     `json:"predicted_n"`
	PredictedMS  float64 `json:"predicted_ms"`
	PredictedPer float64 `json:"predicted_per_second"`
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// measured sums up answers to one prompt: it is counted once.
func measured(results []*infer.Result) (usage, *timings) {
	var u usage
	if len(results) == 0 {
		return u, nil
	}
	first := &results[0].Stats
	u.Prompt, u.Details.Cached = first.PromptTokens, first.CachedTokens
	for _, r := range results {
		u.Completion += r.Stats.NewTokens
	}
	u.Total = u.Prompt + u.Completion
	return u, &timings{
		CachedN: first.CachedTokens, PromptN: first.PromptTokens - first.CachedTokens, PromptMS: milliseconds(first.PrefillTime),
		PredictedN: first.NewTokens, PredictedMS: milliseconds(first.DecodeTime), PredictedPer: first.DecodeRate(),
	}
}

func (u *usage) add(v usage) {
	u.Prompt += v.Prompt
	u.Completion += v.Completion
	u.Total += v.Total
	u.Details.Cached += v.Details.Cached
}

// newID returns a name for an answer.
func newID(prefix string) string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}

// submit queues n answers to r's prompt, and makes each a constraint of its own.
func (m *model) submit(ctx context.Context, r *infer.Request, n int, constraint func() infer.Constraint, text func() infer.Text) ([]*infer.Ticket, error) {
	reqs := copies(r, n)
	if constraint != nil {
		for _, c := range reqs {
			c.Constraint = constraint()
		}
	}
	if text == nil {
		text = func() infer.Text { return m.Tokenizer.NewDecoder(true) }
	}
	most := m.sched.Context() - len(r.Prompt)
	if r.MaxNewTokens > 0 {
		most = min(most, r.MaxNewTokens)
	}
	x := exchangeOf(ctx)
	if err := x.reserve(len(r.Prompt), n*max(most, 0)); err != nil {
		return nil, err
	}
	tickets, err := m.sched.Submit(ctx, text, reqs...)
	if err == nil {
		x.reads(len(r.Prompt))
	}
	return tickets, err
}

// event is a token of a choice, or its end.
type event struct {
	choice int
	token  infer.Token
	result *infer.Result // at the end
	err    error
}

// events merges the tokens of several answers into one channel, which is closed when all have ended. ctx must be that of
// the answers: when it ends, so do they, and what nobody receives is dropped.
func events(ctx context.Context, tickets []*infer.Ticket) <-chan event {
	out := make(chan event)
	ended := make(chan struct{}, len(tickets))
	for i, t := range tickets {
		go func() {
			defer func() { ended <- struct{}{} }()
			send := func(e event) {
				select {
				case out <- e:
				case <-ctx.Done():
				}
			}
			for tok, ok := t.Next(); ok; tok, ok = t.Next() {
				send(event{choice: i, token: tok})
			}
			res, err := t.Result()
			send(event{choice: i, result: res, err: err})
		}()
	}
	go func() {
		for range tickets {
			<-ended
		}
		close(out)
	}()
	return out
}

// follow calls token for every token of the answers, idle when nothing has come for a while (nil: never), and returns the
// results. An error of token, or of an answer, ends all of them.
func follow(ctx context.Context, cancel context.CancelFunc, tickets []*infer.Ticket, token func(choice int, t infer.Token) error, ended func(choice int, r *infer.Result) error, idle func() error) ([]*infer.Result, error) {
	results := make([]*infer.Result, len(tickets))
	x := exchangeOf(ctx)
	ch := events(ctx, tickets)
	defer func() {
		cancel()
		for range ch { // the answers end
		}
	}()
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for left := len(tickets); left > 0; {
		var err error
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
			if idle != nil {
				err = idle()
			}
		case e := <-ch:
			switch {
			case e.err != nil:
				err = e.err
			case e.result != nil:
				results[e.choice] = e.result
				left--
				x.answered(e.choice, e.result)
				err = ended(e.choice, e.result)
			default:
				x.token(e.choice)
				err = token(e.choice, e.token)
			}
			tick.Reset(keepAlive)
		}
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// finish is the reason why an answer ended, in OpenAI's words.
func finish(r *infer.Result) string {
	if r.Finish == infer.FinishStop {
		return "stop"
	}
	return "length"
}

// tokenText makes the strings and bytes of tokens for log-probabilities: those of one answer, in order.
type tokenText struct {
	m       *model
	decoder *tokenizer.Decoder // nil after the beginning
}

func (m *model) tokenText(decoder *tokenizer.Decoder) *tokenText {
	return &tokenText{m: m, decoder: decoder}
}

// of returns the bytes of the next token. A blank that the text does not begin with is not among them.
func (t *tokenText) of(id int32) []byte {
	b := t.m.bytes(id)
	if t.decoder != nil && len(b) > 0 {
		text := t.decoder.Append(nil, id)
		if b[0] == ' ' && (len(text) == 0 || text[0] != ' ') {
			b = b[1:]
		}
		t.decoder = nil
	}
	return b
}

// bytes are what a token writes in the middle of a text; of a control token, its name.
func (m *model) bytes(id int32) []byte {
	if b := m.vocab().Bytes(id); len(b) > 0 {
		return b
	}
	return []byte(m.Tokenizer.Piece(id))
}

// stream writes server-sent events.
type stream struct {
	w  http.ResponseWriter // gives the client a bounded time for each write
	rc *http.ResponseController
}

// keepAlive is how often a silent stream sends a comment, so that proxies do not close it.
const keepAlive = 10 * time.Second

// newStream sends the headers of a stream.
func (s *Server) newStream(w http.ResponseWriter, contentType string) *stream {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx passes events on as they come
	w.WriteHeader(http.StatusOK)
	st := &stream{w: w, rc: http.NewResponseController(w)}
	_ = st.flush()
	return st
}

func (s *Server) eventStream(w http.ResponseWriter) *stream {
	return s.newStream(w, "text/event-stream; charset=utf-8")
}

// raw writes bytes and sends them. A client that does not take them in time is an error.
func (s *stream) raw(b []byte) error {
	if _, err := s.w.Write(b); err != nil {
		return errors.Join(errClient, err)
	}
	return s.flush()
}

func (s *stream) flush() error {
	if err := s.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errors.Join(errClient, err)
	}
	return nil
}

// errClient says that the client cannot be written to.
var errClient = errors.New("the client is gone or does not read")

// data writes one event.
func (s *stream) data(v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	return s.raw(append(append([]byte("data: "), b...), "\n\n"...))
}

// comment writes a line that clients ignore.
func (s *stream) comment() error { return s.raw([]byte(": still working\n\n")) }

// done writes OpenAI's mark of the end.
func (s *stream) done() error { return s.raw([]byte("data: [DONE]\n\n")) }

// finish ends a stream: with last, if it is not nil, and the mark of the end, or with the error that has ended it.
func (s *Server) finish(st *stream, err error, last any) {
	if err == nil && last != nil {
		err = st.data(last)
	}
	if err == nil {
		err = st.done()
	}
	if err != nil {
		s.broken(st, err)
	}
}

// broken ends a stream with err as its last event, unless the client is gone.
func (s *Server) broken(st *stream, err error) {
	s.brokenWith(st, err, func(e *Error) error { return st.data(e) })
}

// brokenWith is broken for streams that write errors in another way.
func (s *Server) brokenWith(st *stream, err error, write func(e *Error) error) {
	if errors.Is(err, errClient) || errors.Is(err, context.Canceled) && s.models.ctx.Err() == nil {
		return
	}
	e := asError(err)
	if e.Status >= 500 {
		s.cfg.Log.Error("an answer failed", "error", err)
	}
	if t, ok := st.w.(*tracked); ok {
		t.failed = e.Status
	}
	_ = write(e)
}
