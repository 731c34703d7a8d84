package llmclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"leolm/internal/journal"
)

// Job is a request with a name that is unique in its batch.
type Job struct {
	ID      string
	Request Request
	// Check looks at an answer; with an error, the request is sent again, up
	// to Batch.Tries times. nil accepts everything.
	Check func(Response) error
}

// Result is the outcome of a job.
type Result struct {
	ID       string   `json:"id"`
	Key      string   `json:"key"` // hash of the request
	Response Response `json:"response"`
	// Problem is what Check found wrong with the last answer, "" if nothing.
	Problem string `json:"problem,omitempty"`
}

// Batch runs jobs concurrently, and remembers in a journal which are done.
type Batch struct {
	Client *Client
	// Journal is a JSONL file of results; it is read first, so that a run
	// goes on where an earlier one stopped. A result counts only for the same
	// request. A line cut off by a crash is dropped.
	Journal     string
	Concurrency int // requests at a time; 0: 8
	Tries       int // requests per job while Check fails; 0: 1
	Price       Price
	// Budget stops the batch when its cost exceeds it; 0: no limit.
	Budget float64
	// Done is told about every finished job, one at a time; may be nil.
	Done func(r Result, finished, total int)

	mu    sync.Mutex
	usage Usage
	spent Usage // in this run
}

// ErrBudget ends a batch that has cost more than its budget.
var ErrBudget = errors.New("the budget is used up")

// Usage is what the results cost: all of them, and those of this run.
func (b *Batch) Usage() (all, run Usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.usage, b.spent
}

func requestKey(c *Client, r Request) (string, error) {
	if r.Model == "" {
		r.Model = c.Model
	}
	data, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}

// split drops the results that are of no job, and returns the jobs that have none and every job's key.
func (b *Batch) split(jobs []Job, results map[string]Result) (open []Job, keys map[string]string, err error) {
	keys = make(map[string]string, len(jobs))
	for _, j := range jobs {
		key, err := requestKey(b.Client, j.Request)
		if err != nil {
			return nil, nil, err
		}
		if _, twice := keys[j.ID]; twice {
			return nil, nil, fmt.Errorf("job %q appears twice", j.ID)
		}
		keys[j.ID] = key
		if r, ok := results[j.ID]; ok && r.Key == key {
			b.usage.Add(r.Response.Usage)
			continue
		}
		delete(results, j.ID)
		open = append(open, j)
	}
	for id := range results {
		if _, wanted := keys[id]; !wanted {
			delete(results, id)
		}
	}
	return open, keys, nil
}

// Run sends the jobs that the journal has no result of, and returns all
// results by job. At the first error that does not pass it stops sending,
// lets running requests end, and returns the error; the journal keeps what
// is finished.
func (b *Batch) Run(ctx context.Context, jobs []Job) (map[string]Result, error) {
	lines, results, err := b.load()
	if err != nil {
		return nil, err
	}
	defer lines.Close()
	open, keys, err := b.split(jobs, results)
	if err != nil {
		return nil, err
	}
	if len(open) == 0 {
		return results, nil
	}

	workers := b.Concurrency
	if workers <= 0 {
		workers = 8
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan Job)
	var wg sync.WaitGroup
	var failed error
	finished := len(jobs) - len(open)
	for range min(workers, len(open)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range next {
				r, err := b.job(ctx, j)
				b.mu.Lock()
				if err == nil {
					r.Key = keys[j.ID]
					err = lines.Append(r)
				}
				if err == nil {
					results[j.ID] = r
					b.usage.Add(r.Response.Usage)
					finished++
					if b.Done != nil {
						b.Done(r, finished, len(jobs))
					}
					if b.Budget > 0 && b.Price.Cost(b.usage) > b.Budget {
						err = fmt.Errorf("%w: %.2f of %.2f after %d of %d requests", ErrBudget, b.Price.Cost(b.usage), b.Budget, finished, len(jobs))
					}
				}
				if err != nil && failed == nil {
					failed = err
					if !errors.Is(err, context.Canceled) {
						failed = fmt.Errorf("%s: %w", j.ID, err)
					}
					cancel(failed)
				}
				b.mu.Unlock()
			}
		}()
	}
send:
	for _, j := range open {
		select {
		case next <- j:
		case <-ctx.Done():
			break send
		}
	}
	close(next)
	wg.Wait()
	if failed == nil && ctx.Err() != nil {
		failed = context.Cause(ctx)
	}
	if err := lines.Sync(); err != nil && failed == nil {
		failed = err
	}
	return results, failed
}

// job sends one request until its answer passes the check.
func (b *Batch) job(ctx context.Context, j Job) (Result, error) {
	out := Result{ID: j.ID}
	var used Usage
	attempts := 0
	for try := 1; ; try++ {
		req := j.Request
		if try > 1 && req.Seed != nil { // the same seed would give the same answer
			seed := *req.Seed + int64(try-1)
			req.Seed = &seed
		}
		r, err := b.Client.Chat(ctx, req)
		if err != nil {
			return out, err
		}
		used.Add(r.Usage)
		attempts += r.Attempts
		b.mu.Lock()
		b.spent.Add(r.Usage)
		b.mu.Unlock()
		r.Usage, r.Attempts = used, attempts
		out.Response, out.Problem = r, ""
		if j.Check == nil {
			return out, nil
		}
		if err := j.Check(r); err == nil {
			return out, nil
		} else if out.Problem = err.Error(); try >= b.Tries {
			return out, nil
		}
	}
}

// load opens the journal and reads the results that it has.
func (b *Batch) load() (*journal.Journal, map[string]Result, error) {
	results := map[string]Result{}
	j, err := journal.Open(b.Journal, func(line []byte) error {
		var r Result
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		if r.ID == "" {
			return errors.New("it names no job")
		}
		results[r.ID] = r
		return nil
	})
	return j, results, err
}
