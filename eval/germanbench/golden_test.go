package germanbench

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/chat"
	"leolm/eval"
	"leolm/eval/harness"
	"leolm/open"
	"leolm/tensor"
)

// measured is what lm-evaluation-harness found (testdata/lmeval.py).
type measured struct {
	Metrics map[string]float64
	Results []json.RawMessage // by document: log-likelihoods, or an answer
	Gold    []int
}

type golden struct{ Tasks, Germanbench map[string]measured }

func readGolden(t *testing.T, path string) golden {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	// Python writes NaN for a standard error that there is none of.
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(data), "NaN", "null")), &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// local opens a model for scoring.
func local(t *testing.T, path string, bos chat.BOSPolicy) *eval.Local {
	t.Helper()
	m, err := open.Open(t.Context(), path, open.Options{
		Together: 4, PageLen: 32, CacheType: tensor.F32,
		// The harness computes in float32; products of bfloat16 round otherwise.
		Convert: func(string, tensor.DType) tensor.DType { return tensor.F32 },
	})
	if err != nil {
		t.Fatal(err)
	}
	l := eval.NewLocal(m, eval.LocalOptions{BOS: bos})
	t.Cleanup(func() { l.Close(); m.Close() })
	return l
}

// tolerance is how far log-likelihoods may be apart: the two programs add in other orders.
const tolerance = 1e-3

// check compares a result with lm-evaluation-harness'.
func check(t *testing.T, name string, r *harness.Result, want measured) {
	t.Helper()
	if len(r.Records) != len(want.Results) {
		t.Errorf("%s: %d documents, want %d", name, len(r.Records), len(want.Results))
		return
	}
	for i, rec := range r.Records {
		var lls []float64
		var answer string
		if json.Unmarshal(want.Results[i], &lls) != nil {
			if err := json.Unmarshal(want.Results[i], &answer); err != nil {
				t.Fatal(err)
			}
			if rec.Answer == nil {
				t.Errorf("%s, document %d has no answer, want %q", name, i, answer)
			} else if *rec.Answer != answer {
				t.Errorf("%s, document %d: %q, want %q", name, i, *rec.Answer, answer)
			}
			continue
		}
		if len(rec.LogProbs) != len(lls) {
			t.Errorf("%s, document %d: %d log-likelihoods, want %d", name, i, len(rec.LogProbs), len(lls))
			continue
		}
		for k, ll := range lls {
			if math.Abs(rec.LogProbs[k]-ll) > tolerance {
				t.Errorf("%s, document %d, choice %d: %v, want %v", name, i, k, rec.LogProbs[k], ll)
			}
		}
	}
	for _, n := range r.Numbers {
		w, ok := want.Metrics[n.Name]
		if !ok || n.Value == nil {
			t.Errorf("%s: %s is %v, want %v", name, n.Name, n.Value, want.Metrics)
			continue
		}
		near := 1e-9
		if strings.Contains(n.Name, "perplexity") || strings.Contains(n.Name, "bits") || strings.Contains(n.Name, "brier") {
			near = 1e-3 * math.Abs(w)
		}
		if math.Abs(*n.Value-w) > near {
			t.Errorf("%s: %s is %v, want %v", name, n.Name, *n.Value, w)
		}
		if se := want.Metrics[n.Name+"_stderr"]; n.Aggregation == harness.Mean && !strings.Contains(n.Name, "brier") && math.Abs(*n.StdErr-se) > 1e-9 {
			t.Errorf("%s: the standard error of %s is %v, want %v", name, n.Name, *n.StdErr, se)
		}
	}
}

// compareTasks runs the task files of testdata and compares.
func compareTasks(t *testing.T, model string, g golden) {
	l := local(t, model, chat.BOSAuto)
	t.Chdir("testdata") // the files name their data from here
	for _, key := range slices.Sorted(maps.Keys(g.Tasks)) {
		name, k, _ := strings.Cut(key, "/")
		var shots int
		fmt.Sscan(k, &shots)
		c, err := harness.ReadConfig(t.Context(), name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		task, err := c.Build(t.Context(), harness.BuildOptions{Shots: &shots, Seed: harness.DefaultSeed})
		if err != nil {
			t.Fatal(err)
		}
		rs, err := harness.Run(t.Context(), l, []*harness.Task{task}, harness.Options{})
		if err != nil {
			t.Fatal(err)
		}
		check(t, key, rs[0], g.Tasks[key])
	}
}

// compareBench runs GermanBench in the variant leolm and compares.
func compareBench(t *testing.T, model string, g golden) {
	l := local(t, model, chat.BOSNever)
	for _, shots := range []int{0, 3} {
		tasks, err := Load(t.Context(), Options{Dir: "testdata/documents", Shots: &shots})
		if err != nil {
			t.Fatal(err)
		}
		rs, err := harness.Run(t.Context(), l, tasks, harness.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			if r.Task.Name == "truthfulqa_de" {
				if shots == 0 {
					checkTruth(t, r, g)
				}
				continue
			}
			name := fmt.Sprintf("%s/%d", r.Task.Name, shots)
			want, ok := g.Germanbench[name]
			if !ok {
				t.Fatalf("nothing measured of %s", name)
			}
			check(t, name, r, want)
			for i, it := range r.Task.Items {
				if it.Gold != want.Gold[i] {
					t.Errorf("%s, document %d: %v is right, want %d", name, i, it.Gold, want.Gold[i])
				}
			}
		}
	}
}

// checkTruth compares TruthfulQA, whose two metrics were measured one after the other.
func checkTruth(t *testing.T, r *harness.Result, g golden) {
	t.Helper()
	one, two := g.Germanbench["truthfulqa_de/mc1/0"], g.Germanbench["truthfulqa_de/mc2/0"]
	mc1, mc2 := 0.0, 0.0
	for i, rec := range r.Records {
		var a, b []float64
		if json.Unmarshal(one.Results[i], &a) != nil || json.Unmarshal(two.Results[i], &b) != nil {
			t.Fatal("log-likelihoods of TruthfulQA")
		}
		all := append(slices.Clone(a), b...)
		if len(all) != len(rec.LogProbs) {
			t.Fatalf("document %d: %d log-likelihoods, want %d", i, len(rec.LogProbs), len(all))
		}
		for k, ll := range all {
			if math.Abs(rec.LogProbs[k]-ll) > tolerance {
				t.Errorf("truthfulqa_de, document %d, answer %d: %v, want %v", i, k, rec.LogProbs[k], ll)
			}
		}
		if harness.ArgMax(a) == 0 {
			mc1++
		}
		right, sum := 0.0, 0.0
		for k, ll := range b {
			sum += math.Exp(ll)
			if k < two.Gold[i] { // the first false answer
				right += math.Exp(ll)
			}
		}
		mc2 += right / sum
	}
	n := float64(len(r.Records))
	for _, c := range []struct {
		name string
		want float64
		near float64
	}{{"mc1", mc1 / n, 1e-12}, {"mc2", mc2 / n, 1e-3}} {
		if got, _ := r.Number(c.name); math.Abs(*got.Value-c.want) > c.near {
			t.Errorf("truthfulqa_de: %s is %v, want %v", c.name, *got.Value, c.want)
		}
	}
}

// The small random Llama of testdata, as lm-evaluation-harness measured it.
func TestTasksAreLMEvals(t *testing.T) {
	compareTasks(t, mustAbs(t, "testdata/model"), readGolden(t, "testdata/golden.json"))
}

func TestBenchIsLMEvals(t *testing.T) {
	compareBench(t, "testdata/model", readGolden(t, "testdata/golden.json"))
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// TestAgainstLMEval compares with another model, of Llama-2's vocabulary: LEO_LMEVAL names its folder, which holds
// lmeval.json as testdata/lmeval.py wrote it for this model.
func TestAgainstLMEval(t *testing.T) {
	dir := os.Getenv("LEO_LMEVAL")
	if dir == "" {
		t.Skip("needs a model that lm-evaluation-harness has measured, in the folder that LEO_LMEVAL names (testdata/lmeval.py)")
	}
	g := readGolden(t, filepath.Join(dir, "lmeval.json"))
	t.Run("bench", func(t *testing.T) { compareBench(t, dir, g) })
	t.Run("tasks", func(t *testing.T) { compareTasks(t, dir, g) })
}
