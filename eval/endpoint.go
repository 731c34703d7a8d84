package eval

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"leolm/internal/llmclient"
)

// EndpointOptions say where an endpoint is and how it is asked.
type EndpointOptions struct {
	URL         string // before /chat/completions, as "http://127.0.0.1:8080/v1"
	Key         string // bearer token; "" for none
	Model       string // to ask for; may be empty where a server has one only
	Concurrency int    // requests at a time; 0: 8
	// Attempts is how often one request is sent while the endpoint fails (0: 6), with pauses that grow from Pause (0: one
	// second). Timeout is that of one attempt; 0: 10 minutes.
	Attempts       int
	Pause, Timeout time.Duration
	Price          Price
	// Budget ends the run when it has cost more; 0: no limit.
	Budget float64
	// Log is told about attempts that failed; may be nil.
	Log func(format string, args ...any)
}

// Price is the cost of a million tokens.
type Price struct{ Prompt, Completion float64 }

// Usage is what an endpoint has been asked for.
type Usage struct {
	Requests   int     `json:"requests"`
	Attempts   int     `json:"attempts"` // requests that were sent, failed ones included
	Prompt     int64   `json:"prompt_tokens"`
	Completion int64   `json:"completion_tokens"`
	Cost       float64 `json:"cost"`
}

// ErrBudget ends a run that has cost more than its budget.
var ErrBudget = llmclient.ErrBudget

// Endpoint is a model behind an OpenAI-compatible API: chat completions for conversations, completions for prompts, and
// completions with echo and logprobs for scores. It is safe for concurrent use.
type Endpoint struct {
	opt    EndpointOptions
	client *llmclient.Client

	mu    sync.Mutex
	usage Usage
}

// NewEndpoint returns an endpoint; nothing is sent.
func NewEndpoint(opt EndpointOptions) *Endpoint {
	if opt.Concurrency <= 0 {
		opt.Concurrency = 8
	}
	return &Endpoint{opt: opt, client: &llmclient.Client{
		BaseURL: opt.URL, Key: opt.Key, Model: opt.Model, Attempts: opt.Attempts, Pause: opt.Pause, Timeout: opt.Timeout, Log: opt.Log,
	}}
}

// Identity implements Model. An endpoint does not say which weights it runs.
func (e *Endpoint) Identity() Identity {
	return Identity{Name: e.opt.Model, Kind: "endpoint", URL: e.opt.URL}
}

// Usage is what was asked for so far, by this value.
func (e *Endpoint) Usage() Usage {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.usage
}

// spent adds what an answer cost, and says whether there is money for more.
func (e *Endpoint) spent(r llmclient.Response) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.usage.Requests++
	e.usage.Attempts += r.Attempts
	e.usage.Prompt += r.Usage.Prompt
	e.usage.Completion += r.Usage.Completion
	e.usage.Cost += llmclient.Price(e.opt.Price).Cost(r.Usage)
	if e.opt.Budget > 0 && e.usage.Cost > e.opt.Budget {
		return ErrBudget
	}
	return nil
}

// Generate implements Generator.
func (e *Endpoint) Generate(ctx context.Context, reqs []Request, done func(i int, a Answer) error) error {
	return each(ctx, e.opt.Concurrency, len(reqs), func(ctx context.Context, i int) (Answer, error) {
		start := time.Now()
		r, err := e.ask(ctx, &reqs[i])
		a := Answer{
			Text: r.Text, Finish: r.Finish, PromptTokens: int(r.Usage.Prompt), NewTokens: int(r.Usage.Completion),
			Seconds: time.Since(start).Seconds(), Attempts: r.Attempts, Err: err,
		}
		if broke := e.spent(r); broke != nil && err == nil {
			return a, broke
		}
		return a, err
	}, done)
}

// ask sends one request.
func (e *Endpoint) ask(ctx context.Context, r *Request) (llmclient.Response, error) {
	seed := int64(r.Seed)
	if len(r.Messages) == 0 {
		c, err := e.client.Complete(ctx, llmclient.CompletionRequest{
			Prompt: r.Prompt, Temperature: &r.Temperature, MaxTokens: r.MaxNewTokens, Seed: &seed, Stop: r.Stops,
		})
		return c.Response, err
	}
	req := llmclient.Request{Temperature: &r.Temperature, MaxTokens: r.MaxNewTokens, Seed: &seed, Stop: r.Stops}
	for _, m := range r.Messages {
		req.Messages = append(req.Messages, llmclient.Message{Role: m.Role.String(), Content: m.Content})
	}
	return e.client.Chat(ctx, req)
}

// patience is how many requests in a row may fail with all their attempts before the endpoint counts as gone.
const patience = 5

// gone reports whether an error means that further requests would fail too; failed is how many did in a row.
func gone(err error, failed int) bool {
	var api *llmclient.APIError
	if errors.As(err, &api) {
		switch api.Status {
		case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			return true
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
			return false
		}
	}
	var none *NoLogProbsError
	var ended *endedError
	return errors.Is(err, ErrBudget) || errors.As(err, &none) || errors.As(err, &ended) || failed >= patience
}

// endedError is the end of a model in this process.
type endedError struct{ error }

// Unwrap returns why it ended.
func (e *endedError) Unwrap() error { return e.error }

// outcome is a result that knows its own failure.
type outcome interface{ Answer | Score | []Score }

// each runs work for 0…n−1, some at a time, and hands the results on, one at a time. A failure of one item is a result that
// work has put its error into; where the endpoint is gone, each returns the error.
func each[T outcome](ctx context.Context, workers, n int, work func(ctx context.Context, i int) (T, error), done func(i int, v T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	var mu sync.Mutex
	var wg sync.WaitGroup
	failed := 0 // in a row
	for range min(workers, n) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				v, err := work(ctx, i)
				mu.Lock()
				if ctx.Err() == nil {
					if failed++; err == nil {
						failed = 0
					}
					switch broke := errors.Is(err, ErrBudget); {
					case err != nil && !broke && gone(err, failed):
						cancel(err)
					default:
						// What was paid for is kept, also by the answer that breaks the budget.
						if derr := done(i, v); derr != nil {
							cancel(derr)
						} else if broke {
							cancel(err)
						}
					}
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	return context.Cause(ctx)
}
