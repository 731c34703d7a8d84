package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain is both programs too: started with their arguments, this binary answers as they would.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		pretend(os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

// pretend serves as llama-server or leo serve, whichever the arguments are of; leo writes many times as fast.
func pretend(args []string) {
	if args[0] == "version" || args[0] == "--version" {
		fmt.Println("made up 1.0\nsecond line")
		return
	}
	if args[0] == "bench" {
		fmt.Println(`{"rows":[{"decode_tokens_per_second":{"median":500}}]}`)
		return
	}
	pause := 2 * time.Millisecond
	addr := ""
	for i, a := range args {
		switch a {
		case "--listen":
			addr, pause = args[i+1], 100*time.Microsecond
		case "--port":
			addr = "127.0.0.1:" + args[i+1]
		case "2048":
			pause *= 2
		}
	}
	http.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Prompt []int32 `json:"prompt"`
			Tokens int     `json:"max_tokens"`
		}
		_ = json.NewDecoder(r.Body).Decode(&q)
		for range q.Tokens {
			time.Sleep(pause)
			fmt.Fprint(w, "data: {\"choices\":[{\"text\":\"x\"}]}\n\n")
			w.(http.Flusher).Flush()
		}
		fmt.Fprintf(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d}}\n\n", len(q.Prompt), q.Tokens)
		fmt.Fprint(w, "data: [DONE]\n\n")
	})
	http.HandleFunc("GET /", func(http.ResponseWriter, *http.Request) {})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(addr, nil))
}

func testBench(t *testing.T) *bench {
	t.Helper()
	return &bench{leo: os.Args[0], peer: os.Args[0], model: "/models/tiny.gguf", out: t.TempDir(), flash: []string{"on", "off"}, batches: []string{"512", "2048"},
		threads: 2, rounds: 2, turns: 1, arrivals: 4, rate: 50, limit: time.Minute, settle: time.Millisecond, words: []int32{1, 2, 3}, stops: []int32{2}}
}

func find(name string) *cell {
	return &cells[slices.IndexFunc(cells, func(c cell) bool { return c.name == name })]
}

func TestMeasure(t *testing.T) {
	b := testBench(t)
	if err := b.measure(t.Context(), find("chats-8")); err != nil {
		t.Fatal(err)
	}
	r, err := b.read("chats-8")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rounds) != 2 || len(r.Tried) != 4 || r.Programs[leoName] != "made up 1.0" || len(r.Programs) != 2 {
		t.Errorf("%+v", r)
	}
	for i := 1; i < len(r.Tried); i++ {
		if r.Tried[i].Values["tokens_per_second"] > r.Tried[0].Values["tokens_per_second"] {
			t.Errorf("the best setting is not the first: %v", r.Tried)
		}
	}
	if x := ratioOf(r.Rounds, "tokens_per_second"); x.n != 2 || x.median < 1.2 {
		t.Errorf("Leo writes many times as fast, and is measured as %v", x)
	}
	if err := b.writeTable(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(b.out, "tiny.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| tiny | Leo |", "8 chats at once, tokens/s", "≥ 2 ×", "-np 8 -fa o"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "32 chats") {
		t.Errorf("the table has a cell that was not measured:\n%s", text)
	}
}

// Every other cell has its headline, and what the table prints of it.
func TestCells(t *testing.T) {
	b := testBench(t)
	for i := range cells {
		c := &cells[i]
		v, err := b.once(t.Context(), c, leoName, settings{}, 1)
		if c.name == "long-prompt" {
			continue // these answers last for a shorter time than the cell needs, and TestPauses has the rest of it
		}
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for _, name := range []string{c.headline, "others"} {
			if _, ok := v[name]; !ok {
				t.Errorf("%s: no %s in %v", c.name, name, v)
			}
		}
		for _, l := range lines {
			_, ok := v[l.value]
			together := l.value == "writing_tokens_per_second" // is there only if all answers were once written together
			if l.cell == c.name && !ok && !together {
				t.Errorf("%s: no %s in %v", c.name, l.value, v)
			}
		}
	}
}

// A measurement that was interrupted goes on where it was.
func TestMeasureGoesOn(t *testing.T) {
	b := testBench(t)
	b.leo, b.rounds = "", 1
	c := find("second-turn")
	if err := b.measure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	before, err := b.read(c.name)
	if err != nil {
		t.Fatal(err)
	}
	b.rounds = 2
	if err := b.measure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	after, err := b.read(c.name)
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Rounds) != 2 || after.Rounds[0][peerName]["first_turn"] != before.Rounds[0][peerName]["first_turn"] {
		t.Errorf("%v, then %v", before.Rounds, after.Rounds)
	}
	b.threads = 1
	if _, err := b.read(c.name); err == nil || !strings.Contains(err.Error(), "2 threads") {
		t.Errorf("results with other threads: %v", err)
	}
}

func TestProgramThatEnds(t *testing.T) {
	b := testBench(t)
	b.peer = filepath.Join(b.out, "quits")
	if err := os.WriteFile(b.peer, []byte("#!/bin/sh\necho no such model >&2\nexit 3\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := b.once(context.Background(), find("chats-8"), peerName, settings{Slots: 8, Flash: "on", Batch: 512}, 1)
	if err == nil || !strings.Contains(err.Error(), "no such model") {
		t.Errorf("%v", err)
	}
}

func TestRateOfArrivals(t *testing.T) {
	b := testBench(t)
	b.rate = 0
	if _, err := b.arrivalRate(); err == nil {
		t.Error("a rate without a measurement")
	}
	values := round{peerName: sample{"requests_per_second": 0.5}, leoName: sample{"requests_per_second": 9}}
	r := &result{Cell: "chats-32", Threads: 2, Rounds: []round{values}}
	if err := b.write(r); err != nil {
		t.Fatal(err)
	}
	if rate, err := b.arrivalRate(); err != nil || rate != 0.35 {
		t.Errorf("%v, %v", rate, err)
	}
}

func TestFormat(t *testing.T) {
	s := statOfValues([]float64{0.02, 0.01, 0.03})
	if got := s.format(1000); got != "20.0 (10.0–30.0)" {
		t.Error(got)
	}
	if got := (stat{}).format(1); got != "–" {
		t.Error(got)
	}
}
