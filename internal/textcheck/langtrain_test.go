package textcheck

import (
	"bufio"
	"encoding/binary"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

var wordlists = flag.String("wordlists", "", "folder of testdata/wordlists.py's output: learn lang.bin from it")

// TestTrainLanguageModel makes lang.bin:
//
//	go test ./internal/textcheck -run TrainLanguageModel -wordlists DIR
func TestTrainLanguageModel(t *testing.T) {
	if *wordlists == "" {
		t.Skip("makes lang.bin when -wordlists is given")
	}
	const bitsOf = 15
	paths, _ := filepath.Glob(filepath.Join(*wordlists, "*.tsv"))
	if len(paths) == 0 || len(paths) > maxLangs {
		t.Fatalf("%d word lists", len(paths))
	}
	type list struct {
		feats [][]uint32
		cum   [2][]float64 // by frequency, and flattened so that rare words are met
	}
	var codes []string
	var lists []list
	for _, p := range paths {
		codes = append(codes, strings.TrimSuffix(filepath.Base(p), ".tsv"))
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		var l list
		var sum [2]float64
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			w, fr, _ := strings.Cut(sc.Text(), "\t")
			x, err := strconv.ParseFloat(fr, 64)
			if err != nil {
				t.Fatal(p, err)
			}
			var feats []uint32
			letterRuns(w, func(word []rune) {
				feats = wordFeatures(feats, word, 1<<bitsOf-1)
			})
			if len(feats) == 0 {
				continue
			}
			l.feats = append(l.feats, feats)
			for i, y := range []float64{x, math.Pow(x, 0.6)} {
				sum[i] += y
				l.cum[i] = append(l.cum[i], sum[i])
			}
		}
		f.Close()
		lists = append(lists, l)
	}
	k := len(codes)
	w := make([]float32, k<<bitsOf)
	g := make([]float32, k<<bitsOf) // Adagrad
	rng := rand.New(rand.NewPCG(1, 2))
	score := make([]float32, k)
	var feats []uint32
	const steps = 4_000_000
	loss := 0.0
	for step := range steps {
		y := rng.IntN(k)
		l := &lists[y]
		feats = feats[:0]
		kind := rng.IntN(2)
		for range 1 + rng.IntN(1+rng.IntN(10)) {
			c := l.cum[kind]
			i := sort.SearchFloat64s(c, rng.Float64()*c[len(c)-1])
			feats = append(feats, l.feats[min(i, len(c)-1)]...)
		}
		clear(score)
		for _, f := range feats {
			for i, x := range w[int(f)*k:][:k] {
				score[i] += x
			}
		}
		top := score[0]
		for _, s := range score {
			top = max(top, s)
		}
		sum := 0.0
		for i := range score {
			e := math.Exp(float64(score[i] - top))
			score[i] = float32(e)
			sum += e
		}
		loss -= math.Log(float64(score[y])/sum + 1e-12)
		for i := range score {
			score[i] /= float32(sum)
		}
		score[y]--
		lr := float32(0.12 * (1 - float64(step)/steps*0.97))
		for _, f := range feats {
			ws, gs := w[int(f)*k:][:k], g[int(f)*k:][:k]
			for i, d := range score {
				d += 2e-6 * ws[i]
				if d < 1e-4 && d > -1e-4 {
					continue
				}
				gs[i] += d * d
				ws[i] -= lr * d / float32(math.Sqrt(float64(gs[i])+1e-3))
			}
		}
		if (step+1)%500_000 == 0 {
			t.Logf("step %d loss %.4f", step+1, loss/500_000)
			loss = 0
		}
	}
	// 8 bits; the few largest weights are clipped.
	abs := make([]float64, 0, len(w))
	for _, x := range w {
		abs = append(abs, math.Abs(float64(x)))
	}
	sort.Float64s(abs)
	scale := abs[len(abs)*9995/10000] / 127
	out := append([]byte("LEOLANG1"), byte(k), bitsOf)
	for _, c := range codes {
		out = append(out, c...)
	}
	out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(scale)))
	for _, x := range w {
		out = append(out, byte(int8(math.Round(min(max(float64(x)/scale, -127), 127)))))
	}
	if err := os.WriteFile("lang.bin", out, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("lang.bin: %d languages, %d bytes, scale %.4f", k, len(out), scale)
}

// letterRuns cuts a word of a list as Detect does.
func letterRuns(w string, each func(word []rune)) {
	word := []rune{'_'}
	for _, r := range strings.ToLower(w) + " " {
		if (r < 128 && r >= 'a' && r <= 'z') || r >= 0xC0 && scriptOf(r) == scriptModel && r != 0xD7 && r != 0xF7 {
			if len(word) <= langWord {
				word = append(word, r)
			}
			continue
		}
		if len(word) > 1 {
			each(append(word, '_'))
		}
		word = []rune{'_'}
	}
}
