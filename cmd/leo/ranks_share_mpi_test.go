//go:build linux && !nodl && (amd64 || arm64)

package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"leolm/checkpoint"
	"leolm/tokenizer"
)

// sharedModel writes a model with the heads of one of 70 billion parameters and a tokenizer into a folder, and returns the
// names of its forms.
func sharedModel(t *testing.T, dir string) []string {
	t.Helper()
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 290})
	if err != nil {
		t.Fatal(err)
	}
	tr.Counter().Add("der die das und der Mond am Abend über dem Wald in der Nacht")
	res, err := tr.Train(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), res.Model, 0o666); err != nil {
		t.Fatal(err)
	}
	cfg := checkpoint.Config{
		Architecture: "llama", HiddenSize: 256, IntermediateSize: 512, Layers: 2, Heads: 64, KVHeads: 8, HeadDim: 4,
		VocabSize: 301, MaxPositions: 256, RMSEps: 1e-5, RopeTheta: 10000, BOS: 1, EOS: []int{2}, PAD: -1,
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var sources []checkpoint.Source
	for _, s := range cfg.TensorShapes() {
		n, err := s.Shape.Elements()
		if err != nil {
			t.Fatal(err)
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() * 0.3)
			if len(s.Shape) == 1 {
				v[i]++
			}
		}
		sources = append(sources, checkpoint.Source{Name: s.Name, Shape: s.Shape, From: checkpoint.F32Rows{Data: v, Cols: s.Shape.Cols()}})
	}
	if err := checkpoint.WriteHF(filepath.Join(dir, "folder"), cfg, sources, checkpoint.HFOptions{}); err != nil {
		t.Fatal(err)
	}
	names := []string{"folder"}
	for _, as := range []string{"q4_0", "q4_k_m"} {
		ft, err := checkpoint.ParseFileType(as)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.WriteGGUF(filepath.Join(dir, as+".gguf"), cfg, sources, checkpoint.GGUFOptions{Type: ft}); err != nil {
			t.Fatal(err)
		}
		names = append(names, as+".gguf")
	}
	return names
}

// outputOf is what a command prints, without its messages.
func outputOf(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out.Bytes(), messages.Bytes())
	}
	return out.String()
}

// words are those of an answer, without what depends on the time or on the width of the terminal that Open MPI makes.
func words(s string) string {
	before, after, _ := strings.Cut(s, `"stats"`)
	_, after, _ = strings.Cut(after, "}")
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(before+after), " ") {
		if r >= 0x7f && r < 0xa0 { // Open MPI gives ranks a terminal, for which these are written out
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Commands that run models say the same on several ranks as in one process, to the last digit of log-probabilities.
func TestSharedModelUnderMPI(t *testing.T) {
	eachLauncher(t, func(t *testing.T, l launcher) {
		dir := t.TempDir()
		var commands [][]string
		for _, model := range sharedModel(t, dir) {
			commands = append(commands, []string{
				"generate", "-m", model, "--tokenizer", "tokenizer.model", "--temperature", "0", "--max-new-tokens", "24", "--json", "--logprobs", "3", "der Mond",
			})
		}
		if err := os.WriteFile(filepath.Join(dir, "text.txt"), []byte("der Mond über dem Wald und die Nacht am Abend"), 0o666); err != nil {
			t.Fatal(err)
		}
		more := []string{"-m", "folder", "--tokenizer", "tokenizer.model"}
		commands = append(commands,
			append([]string{"generate", "--beams", "2", "--json", "die Nacht"}, more...),
			append([]string{"eval", "perplexity", "--json", "text.txt"}, more...),
			[]string{"chat", "-q", "Was ist ein Vulkan?"}, // has three heads
		)
		for _, args := range commands {
			one := exec.Command("leo", args...)
			one.Dir = dir
			want := words(outputOf(t, one))
			ranks := []int{2, 4}
			if args[0] == "chat" {
				ranks = []int{3}
			}
			for _, n := range ranks {
				cmd, _ := l.command(dir, n, args...)
				if got := words(outputOf(t, cmd)); got != want || want == "" {
					t.Errorf("%d ranks: leo %v says\n%s\nin one process\n%s", n, args, got, want)
				}
			}
		}
		cmd, log := l.command(dir, 4, "chat", "-q", "Was?")
		if err := cmd.Run(); err == nil || !strings.Contains(log.String(), "4 ranks cannot share 3 heads with 3 heads of keys and values") {
			t.Errorf("%v\n%s", err, log)
		}
	})
}

// A server of two ranks answers, sleeps while nobody asks, and ends as one: told to end on rank 0, or by the death of the
// other.
func TestSharedServerUnderMPI(t *testing.T) {
	eachLauncher(t, func(t *testing.T, l launcher) {
		for _, end := range []struct {
			signal syscall.Signal
			rank   string
			fails  bool
		}{{syscall.SIGTERM, "0", false}, {syscall.SIGKILL, "1", true}} {
			address := freeAddress(t)
			cmd, log := l.command(t.TempDir(), 2, "serve", "--listen", address)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			ask := func(model string) (int, string) {
				body := fmt.Sprintf(`{"model": %q, "messages": [{"role": "user", "content": "Was ist ein Vulkan?"}], "temperature": 0}`, model)
				res, err := http.Post("http://"+address+"/v1/chat/completions", "application/json", strings.NewReader(body))
				if err != nil {
					return 0, err.Error()
				}
				defer res.Body.Close()
				text, _ := io.ReadAll(res.Body)
				return res.StatusCode, string(text)
			}
			status, text := 0, ""
			for range 100 {
				if status, text = ask("leo-mini"); status != 0 {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if status != 200 || !strings.Contains(text, "Ein Vulkan ist ein Berg.") {
				t.Errorf("%d %s", status, text)
			}
			if status, text = ask("nobody"); status != 404 {
				t.Errorf("a model that is not there: %d %s", status, text)
			}
			if status, text = ask("leo-mini"); status != 200 {
				t.Errorf("after an error of another request: %d %s", status, text)
			}
			pids := ranksBelow(cmd.Process.Pid)
			idle := -busy(pids)
			time.Sleep(2 * time.Second)
			if idle += busy(pids); idle > 200*time.Millisecond {
				t.Errorf("two idle ranks computed for %v in 2 s", idle)
			}
			for _, pid := range pids {
				if env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); bytes.Contains(env, []byte("_RANK="+end.rank+"\x00")) {
					_ = syscall.Kill(pid, end.signal)
				}
			}
			select {
			case err := <-ended:
				if (err != nil) != end.fails {
					t.Errorf("%v to rank %s: %v\n%s", end.signal, end.rank, err, log)
				}
			case <-time.After(10 * time.Second):
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				t.Fatalf("%v to rank %s does not end the ranks", end.signal, end.rank)
			}
		}
	})
}

// busy is how long processes have computed.
func busy(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		for _, field := range fields[min(11, len(fields)):min(13, len(fields))] { // user and system time, in hundredths
			n, _ := strconv.Atoi(field)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
