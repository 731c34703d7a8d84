package llmclient

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
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
	// resumes where an earlier one stopped. A result counts only for the same
	// request. A line cut off by a crash is dropped.
	Journal     string
	Concurrency int // requests at a time; 0: 8
	Tries       int // requests per job while Check fails; 0: 1
	Price       Price
	// Budget stops the batch when its cost exceeds it; 0: no limit.
	Budget float64
	// Done is called for every finished job, one at a time; may be nil.
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

// Run sends the jobs that the journal has no result of, and returns all
// results by job. At the first permanent error it stops sending,
// waits for running requests, and returns the error; the journal keeps what
// is finished.
func (b *Batch) Run(ctx context.Context, jobs []Job) (map[string]Result, error) {
	results, err := b.load()
	if err != nil {
		return nil, err
	}
	var open []Job
	keys := make(map[string]string, len(jobs))
	for _, j := range jobs {
		key, err := requestKey(b.Client, j.Request)
		if err != nil {
			return nil, err
		}
		if _, twice := keys[j.ID]; twice {
			return nil, fmt.Errorf("job %q appears twice", j.ID)
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
	if len(open) == 0 {
		return results, nil
	}
	journal, err := os.OpenFile(b.Journal, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	defer journal.Close()

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
					err = appendLine(journal, r)
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
	if err := journal.Sync(); err != nil && failed == nil {
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

// appendLine writes a result in one piece.
func appendLine(f *os.File, r Result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return err
}

// load reads the journal and cuts an unfinished last line off it.
func (b *Batch) load() (map[string]Result, error) {
	results := map[string]Result{}
	f, err := os.OpenFile(b.Journal, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return results, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	br := bufio.NewReaderSize(f, 1<<20)
	whole := int64(0)
	for n := 1; ; n++ {
		line, err := br.ReadBytes('\n')
		if err == io.EOF {
			if len(line) > 0 {
				return results, f.Truncate(whole)
			}
			return results, nil
		}
		if err != nil {
			return nil, err
		}
		var r Result
		if err := json.Unmarshal(line, &r); err != nil || r.ID == "" {
			return nil, fmt.Errorf("%s: line %d is no result of an earlier run (%v); delete the file to start again", b.Journal, n, err)
		}
		whole += int64(len(line))
		results[r.ID] = r
	}
}
