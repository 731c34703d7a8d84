package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The soak test runs for a moment with the others. By hand: go test ./serve -run Soak -soak 10m -timeout 20m -v
var soakTime = flag.Duration("soak", 1500*time.Millisecond, "how long TestSoak runs")

var soakQuestions = []string{
	"Was ist die Hauptstadt von Frankreich?", "Wie heißt du?", "Erzähle eine Geschichte von einem Fuchs.", "Was ist ein Baum?",
	"Zähle bis zehn.", "Warum ist der Himmel blau?", "Nenne drei Tiere.", "Schreibe einen Brief an Oma.",
}

// soaker is the state of TestSoak.
type soaker struct {
	t    *testing.T
	url  string
	want map[string]string // request → the answer that it has alone

	answered, canceled, refused, scored atomic.Int64
}

// request is the body for a question: greedy, drawn with a seed, or a schema.
func soakRequest(rng *rand.Rand) string {
	q := soakQuestions[rng.IntN(len(soakQuestions))]
	extra := []string{
		`"temperature":0`, `"temperature":0,"max_tokens":7`, `"temperature":1,"seed":3`, `"temperature":0,"stop":"e"`,
		`"temperature":0,"guided_choice":["ja","nein","vielleicht"]`,
	}[rng.IntN(5)]
	return fmt.Sprintf(`{"messages":[{"role":"system","content":"Du bist ein freundlicher Helfer und antwortest auf Deutsch."},{"role":"user","content":%q}],%s`, q, extra)
}

// Many clients ask, cancel, read slowly, and send nonsense, all at once: every answer is the one that the request has
// alone, nothing fails that is not the client's fault, and at the end nothing is left: no goroutine, no place taken, and
// no more memory than before.
func TestSoak(t *testing.T) {
	before := runtime.NumGoroutine()
	s, err := New(context.Background(), Config{Parallel: 16, Queue: 1000, WriteTimeout: 2 * time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	k := &soaker{t: t, url: web.URL, want: map[string]string{}}
	k.alone()
	for range 2 {
		k.run(*soakTime / 10) // buffers, pages, connections
	}
	first := heap()
	k.run(*soakTime)
	http.DefaultClient.CloseIdleConnections()
	m, release, err := s.models.get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { st := m.sched.Stats(); return st.Running+st.Waiting == 0 && st.PagesInUse == 0 }, "all places are free")
	release()
	last := heap()
	t.Logf("%d answers, %d canceled, %d refused, %d scored or embedded; heap %d KiB at first, %d KiB at last",
		k.answered.Load(), k.canceled.Load(), k.refused.Load(), k.scored.Load(), first>>10, last>>10)
	if last > first+first/4+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", first, last)
	}
	web.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wait(t, func() bool { return runtime.NumGoroutine() <= before+2 }, "all goroutines have ended") // two workers of the device
}

// heap is the memory in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// alone asks every request once, with nothing beside it.
func (k *soaker) alone() {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 400 {
		body := soakRequest(rng)
		if _, ok := k.want[body]; !ok {
			var a testAnswer
			post(k.t, k.url+"/v1/chat/completions", body+"}", &a)
			k.want[body] = *a.Choices[0].Message.Content
		}
	}
}

// run lets 64 clients work for a while.
func (k *soaker) run(d time.Duration) {
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for i := range 64 {
		rng := rand.New(rand.NewPCG(uint64(i), uint64(d)))
		wg.Go(func() {
			for time.Now().Before(end) && !k.t.Failed() {
				switch n := rng.IntN(20); {
				case n < 9:
					k.stream(rng, 0, false)
				case n < 12:
					k.whole(rng)
				case n < 15:
					k.stream(rng, 0, true)
				case n < 16:
					k.stream(rng, time.Duration(rng.IntN(30))*time.Millisecond, false)
				case n < 18:
					k.nonsense(rng)
				default:
					k.score(rng)
				}
			}
		})
	}
	wg.Wait()
}

func (k *soaker) compare(body, got string) {
	k.answered.Add(1)
	if want, ok := k.want[body]; ok && got != want {
		k.t.Errorf("%s: %q, alone %q", body, got, want)
	}
}

func (k *soaker) whole(rng *rand.Rand) {
	body := soakRequest(rng)
	var a testAnswer
	post(k.t, k.url+"/v1/chat/completions", body+"}", &a)
	k.compare(body, *a.Choices[0].Message.Content)
}

// stream reads a stream, a pause after each event, or cancels it somewhere.
func (k *soaker) stream(rng *rand.Rand, pause time.Duration, cancels bool) {
	body := soakRequest(rng)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	after := rng.IntN(20)
	if cancels && rng.IntN(3) == 0 {
		time.AfterFunc(time.Duration(rng.IntN(20))*time.Millisecond, cancel)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url+"/v1/chat/completions", strings.NewReader(body+`,"stream":true}`))
	if err != nil {
		k.t.Error(err)
		return
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		k.gone(ctx, err)
		return
	}
	defer r.Body.Close()
	text, done := "", false
	lines := bufio.NewScanner(r.Body)
	for n := 0; lines.Scan(); n++ {
		time.Sleep(pause)
		if cancels && n == after {
			cancel()
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if done = data == "[DONE]"; done {
			break
		}
		var c testChunk
		if err := json.Unmarshal([]byte(data), &c); err != nil || len(c.Choices) != 1 {
			k.t.Errorf("event %s: %v", data, err)
			return
		}
		if d := c.Choices[0].Delta.Content; d != nil {
			text += *d
		}
	}
	if !done {
		k.gone(ctx, lines.Err())
		return
	}
	k.compare(body, text)
}

// gone notes an answer that did not come, which is right if it was canceled.
func (k *soaker) gone(ctx context.Context, err error) {
	if ctx.Err() == nil {
		k.t.Errorf("a stream broke: %v", err)
		return
	}
	k.canceled.Add(1)
}

func (k *soaker) nonsense(rng *rand.Rand) {
	bodies := []string{`{`, `{"messages":[]}`, `{"messages":[{"role":"user","content":"x"}],"n":0}`, `{"messages":[{"role":"user","content":"` + strings.Repeat("lang ", 3000) + `"}]}`,
		`{"messages":[{"role":"user","content":"x"}],"guided_regex":"(((("}`, `{"messages":[{"role":"user","content":"x"}],"model":"nobody"}`, "\x00\xff"}
	r, err := http.Post(k.url+"/v1/chat/completions", "application/json", strings.NewReader(bodies[rng.IntN(len(bodies))]))
	if err != nil {
		k.t.Error(err)
		return
	}
	defer r.Body.Close()
	_, _ = io.Copy(io.Discard, r.Body)
	if r.StatusCode < 400 || r.StatusCode > 499 {
		k.t.Errorf("nonsense has status %d", r.StatusCode)
	}
	k.refused.Add(1)
}

func (k *soaker) score(rng *rand.Rand) {
	var out any
	if rng.IntN(2) == 0 {
		post(k.t, k.url+"/v1/completions", `{"prompt":"Der Mond ist aufgegangen","echo":true,"logprobs":1,"max_tokens":1}`, &out)
	} else {
		post(k.t, k.url+"/v1/embeddings", `{"input":["Der Mond","ist aufgegangen"]}`, &out)
	}
	k.scored.Add(1)
}
