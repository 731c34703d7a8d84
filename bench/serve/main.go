// Command serve measures leo serve and llama-server in turn on the same model file, and writes a Markdown table for
// docs/speed.md.
//
//	go build -o /tmp/leo ./cmd/leo
//	go run ./bench/serve --leo /tmp/leo --llama-server build/bin/llama-server --model r1b-q4_0.gguf --out out/serve
//
// bench/peers/README.md says how llama-server is built. Every cell of the table (cells.go) has rounds; in a round each
// program is started, measured and ended, and the next round begins with the other one. Before the first round of a
// cell llama-server runs once with each of its settings (flash attention on and off, batches of 512 and 2048 tokens,
// slots) and keeps the best; --flash and --batch narrow the choice where it is known from another cell. Every round is
// written to OUT/MODEL-CELL.json at once: an interrupted measurement continues where it stopped. Without
// --llama-server or without --leo the other program is measured alone.
//
// Prompts are token ids, so that both read exactly the same, random and without a common beginning. Answers are greedy,
// may not end early, and are counted by the usage field. Times are the client's, which runs on the same processor. The
// machine should be idle otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"leolm/catalog"
	"leolm/internal/pool"
)

// bench is one run of this command.
type bench struct {
	leo, peer         string // programs; "" if not measured
	leoArgs, peerArgs []string
	model, out        string
	inside            string // the model that decodes without a server: the same but in tests
	turns             int    // of it and the server
	threads, rounds   int
	arrivals          int      // requests of the cell "arrivals"
	rate              float64  // their rate per second; 0: a share of llama-server's capacity
	flash, batches    []string // llama-server's settings to choose from
	limit             time.Duration
	settle            time.Duration // before memory is read
	words             []int32       // ids that prompts are made of
	stops             []int32       // ids that would end an answer
}

func main() {
	b := bench{settle: 2 * time.Second, turns: 9}
	var only, leoArgs, peerArgs, flash, batches string
	flag.StringVar(&b.leo, "leo", "", "the program leo; nothing: llama-server alone")
	flag.StringVar(&b.peer, "llama-server", "", "llama.cpp's llama-server; nothing: Leo alone")
	flag.StringVar(&leoArgs, "leo-args", "", "further arguments of leo serve, separated by spaces")
	flag.StringVar(&peerArgs, "llama-args", "", "further arguments of llama-server, separated by spaces")
	flag.StringVar(&b.model, "model", "", "a GGUF file; its context must have 5000 tokens")
	flag.StringVar(&b.out, "out", "out/serve", "folder of the results")
	flag.IntVar(&b.threads, "threads", pool.Processors(), "threads of each program")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds per cell")
	flag.IntVar(&b.arrivals, "arrivals", 40, "requests of the cell \"arrivals\"")
	flag.Float64Var(&b.rate, "rate", 0, "requests per second of the cell \"arrivals\"; 0: 70 % of llama-server's capacity")
	flag.StringVar(&flash, "flash", "on,off", "flash attention of llama-server: the better of these")
	flag.StringVar(&batches, "batch", "512,2048", "tokens of llama-server's batches: the better of these")
	flag.DurationVar(&b.limit, "limit", 20*time.Minute, "time limit of one program in one round")
	flag.StringVar(&only, "only", "", "measure only the cells that match this regular expression")
	flag.Parse()
	b.inside = b.model
	b.leoArgs, b.peerArgs = strings.Fields(leoArgs), strings.Fields(peerArgs)
	b.flash, b.batches = strings.Split(flash, ","), strings.Split(batches, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, only); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, only string) error {
	want, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if b.model == "" || b.leo == "" && b.peer == "" {
		return errors.New("--model and one of --leo and --llama-server are needed")
	}
	if b.model, err = filepath.Abs(b.model); err != nil {
		return err
	}
	if err := os.MkdirAll(b.out, 0o777); err != nil {
		return err
	}
	if err := b.readVocabulary(); err != nil {
		return err
	}
	for i := range cells {
		if !want.MatchString(cells[i].name) {
			continue
		}
		if err := b.measure(ctx, &cells[i]); err != nil {
			return fmt.Errorf("%s: %w", cells[i].name, err)
		}
		if err := b.writeTable(); err != nil {
			return err
		}
	}
	return b.writeTable()
}

// readVocabulary finds the ids that prompts are made of: those of plain words, so that answers are hopefully text as
// well, of which a server can send every token at once.
func (b *bench) readVocabulary() error {
	m, err := catalog.Open(b.model, catalog.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	plain := regexp.MustCompile(`^[ A-Za-z0-9]+$`)
	for id := range int32(min(m.Tokenizer.Vocab(), m.Config().VocabSize)) {
		if plain.MatchString(m.Tokenizer.Decode([]int32{id}, true)) {
			b.words = append(b.words, id)
		}
	}
	if len(b.words) < 100 {
		return fmt.Errorf("%s: only %d ids of its vocabulary are plain words", b.model, len(b.words))
	}
	b.stops = m.StopIDs
	return nil
}
