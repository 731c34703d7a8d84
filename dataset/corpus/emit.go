package corpus

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"leolm/internal/shell"
)

// EmitOptions describe the machines of a cluster.
type EmitOptions struct {
	Leo      string // the program
	CPUs     int    // per task
	MaxArray int    // tasks per Slurm array
	Parallel int    // tasks at once
	Time     string // limit of a Slurm task
	Image    string // Kubernetes
	Claim    string
	Mount    string
}

// EmitSlurm writes a shell script that submits the plan: an array job for each
// stage (several when the stage has more tasks than an array may have), each
// after all of the stage before ended well. Tasks are requeued when a node
// fails or the job is preempted; done tasks return at once, so the script can
// be run again after any failure.
func (p *Plan) EmitSlurm(w io.Writer, dir string, o EmitOptions) error {
	if o.CPUs < 1 || o.MaxArray < 1 || o.Parallel < 1 {
		return fmt.Errorf("cpus %d, max-array %d, parallel %d: want at least 1 each", o.CPUs, o.MaxArray, o.Parallel)
	}
	var b strings.Builder
	mem := max(p.Memory(o.CPUs, 1<<20)/int64(o.CPUs)>>20, 512)
	fmt.Fprintf(&b, `#!/bin/sh
# Plan %s: leo data corpus emit --slurm
# Submit from a machine with sbatch. Run again after a failure: what is done is
# skipped. The folder must lie on a disk that all nodes share.
set -eu
dir=%s
mkdir -p "$dir/log"
common="--parsable --requeue --open-mode=append --cpus-per-task=%d --mem-per-cpu=%dM --time=%s --signal=B:USR1@60"
after=""
`, p.ID, shell.Quote(dir), o.CPUs, mem, o.Time)
	for _, s := range p.Stages {
		fmt.Fprintf(&b, "\n# %s: %d tasks\nids=\"\"\n", s.Name, s.Tasks)
		for first := 0; first < s.Tasks; first += o.MaxArray {
			n := min(o.MaxArray, s.Tasks-first)
			task := "$SLURM_ARRAY_TASK_ID"
			if first > 0 {
				task = fmt.Sprintf("$((SLURM_ARRAY_TASK_ID + %d))", first)
			}
			// On USR1 (a minute before the limit) the task asks to be queued again.
			inner := fmt.Sprintf(`#!/bin/sh
%s data corpus run "$LEO_DIR" --stage %s --task "%s" --workers %d &
leo=$!
trap 'kill "$leo"; scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"' USR1
wait "$leo"
`, shell.Quote(o.Leo), s.Name, task, o.CPUs)
			fmt.Fprintf(&b, `id=$(LEO_DIR="$dir" sbatch $common $after --job-name=leo-%s --array=0-%d%%%d --output="$dir/log/%s-%%A_%%a.log" <<'JOB'
%sJOB
)
ids="$ids:${id%%%%;*}"
`, s.Name, n-1, o.Parallel, s.Name, inner)
		}
		b.WriteString("after=\"--dependency=afterok$ids --kill-on-invalid-dep=yes\"\n")
	}
	b.WriteString("\necho \"submitted; leo data corpus status $dir shows how far it is\"\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// EmitKubernetes writes one Indexed Job per stage. Kubernetes knows no order
// between jobs: each task waits (--wait) until the stage before is done, so all
// can be applied at once, or one after the other to hold no idle pods.
func (p *Plan) EmitKubernetes(w io.Writer, dir string, o EmitOptions) error {
	if o.CPUs < 1 || o.Parallel < 1 {
		return fmt.Errorf("cpus %d, parallel %d: want at least 1 each", o.CPUs, o.Parallel)
	}
	if o.Mount == "" {
		o.Mount = filepath.Dir(dir)
	}
	var b strings.Builder
	mem := p.Memory(o.CPUs, 1<<20)>>20 + 256
	for i, s := range p.Stages {
		fmt.Fprintf(&b, `---
# Plan %[1]s, stage %[2]d of %[3]d
apiVersion: batch/v1
kind: Job
metadata:
  name: leo-%[4]s-%[5]s
  labels: {app: leo-corpus, plan: "%[1]s"}
spec:
  completionMode: Indexed
  completions: %[6]d
  parallelism: %[7]d
  backoffLimitPerIndex: 6
  podReplacementPolicy: Failed
  template:
    metadata:
      labels: {app: leo-corpus, plan: "%[1]s"}
    spec:
      restartPolicy: Never
      containers:
        - name: leo
          image: %[8]q
          command: [%[9]q, data, corpus, run, %[10]q, --stage, %[5]s, --task, "$(JOB_COMPLETION_INDEX)", --workers, "%[11]d", --wait]
          resources:
            requests: {cpu: "%[11]d", memory: %[12]dMi}
            limits: {memory: %[12]dMi}
          volumeMounts:
            - {name: data, mountPath: %[13]q}
      volumes:
        - name: data
          persistentVolumeClaim: {claimName: %[14]q}
`, p.ID, i+1, len(p.Stages), p.ID[:8], s.Name, s.Tasks, min(s.Tasks, o.Parallel), o.Image, o.Leo, dir, o.CPUs, mem, o.Mount, o.Claim)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
