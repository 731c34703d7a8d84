package corpus

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// The Slurm script is run against an sbatch that runs the job's tasks at once.
func TestEmitSlurm(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here")
	}
	dir, recipe := fixture(t)
	out := filepath.Join(dir, "mit leer'zeichen")
	p := mustPlan(t, recipe, out, 3)
	var script bytes.Buffer
	if err := p.EmitSlurm(&script, out, EmitOptions{Leo: filepath.Join(dir, "leo"), CPUs: 2, MaxArray: 2, Parallel: 4, Time: "1:00:00"}); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	for name, text := range map[string]string{
		"submit.sh": script.String(),
		"sbatch": `#!/bin/sh
cat > "$JOBS/script"
for a in "$@"; do case $a in --array=*) array=${a#--array=};; --dependency=*) echo "$a" >> "$LOG";; esac; done
last=${array#0-}; last=${last%%%*}; i=0
while [ $i -le $last ]; do SLURM_ARRAY_TASK_ID=$i SLURM_ARRAY_JOB_ID=1 sh "$JOBS/script" || exit 1; i=$((i+1)); done
n=$(cat "$JOBS/n" 2>/dev/null || echo 0); n=$((n+1)); echo $n > "$JOBS/n"; echo "$n;cluster"
`,
		"leo": "#!/bin/sh\necho \"$@\" >> \"$LOG\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(sh, filepath.Join(dir, "submit.sh"))
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "LOG="+log, "JOBS="+dir)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	got, _ := os.ReadFile(log)
	lines := strings.Split(strings.TrimSpace(string(got)), "\n")
	var want []string
	job, after := 0, ""
	for _, s := range p.Stages {
		ids := ""
		for first := 0; first < s.Tasks; first += 2 {
			if after != "" {
				want = append(want, "--dependency=afterok"+after)
			}
			for i := first; i < min(first+2, s.Tasks); i++ {
				want = append(want, "data corpus run "+out+" --stage "+s.Name+" --task "+itoa(i)+" --workers 2")
			}
			job++
			ids += ":" + itoa(job)
		}
		after = ids
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("the script ran\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func itoa(i int) string {
	if i >= 10 {
		return itoa(i/10) + itoa(i%10)
	}
	return string(rune('0' + i))
}

func TestEmitKubernetes(t *testing.T) {
	dir, recipe := fixture(t)
	out := filepath.Join(dir, "o")
	p := mustPlan(t, recipe, out, 3)
	var b bytes.Buffer
	if err := p.EmitKubernetes(&b, out, EmitOptions{Leo: "leo", CPUs: 4, Parallel: 8, Image: "leo:latest", Claim: "corpus"}); err != nil {
		t.Fatal(err)
	}
	docs := strings.Split(b.String(), "---\n")[1:]
	if len(docs) != len(p.Stages) {
		t.Fatalf("%d jobs, want %d", len(docs), len(p.Stages))
	}
	for i, d := range docs {
		var job struct {
			Kind string
			Spec struct {
				CompletionMode string `yaml:"completionMode"`
				Completions    int
				Template       struct {
					Spec struct {
						Containers []struct{ Command []string }
					}
				}
			}
		}
		if err := yaml.Unmarshal([]byte(d), &job); err != nil {
			t.Fatal(err)
		}
		want := []string{"leo", "data", "corpus", "run", out, "--stage", p.Stages[i].Name, "--task", "$(JOB_COMPLETION_INDEX)", "--workers", "4", "--wait"}
		if job.Kind != "Job" || job.Spec.CompletionMode != "Indexed" || job.Spec.Completions != p.Stages[i].Tasks || strings.Join(job.Spec.Template.Spec.Containers[0].Command, " ") != strings.Join(want, " ") {
			t.Errorf("job %d: %+v", i, job)
		}
	}
}
