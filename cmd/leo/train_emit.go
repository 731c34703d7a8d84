package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"leolm/internal/shell"
	"leolm/train"
)

// jobFlags say how a training is started on many machines.
type jobFlags struct {
	kind  string // slurm, mpirun or kubernetes; "" to train here
	nodes int    // 0: one for each rank
	cpus  int    // of a rank; 0: its share of the node
	time  string
	grace int // seconds that a step and a checkpoint take
	leo   string
	mpi   string
	image string // of a container
	claim string // a volume with the folder in which the training runs
	mount string // where that is in a container; "" for the folder
}

// jobOnly are the flags that mean something with --emit only.
var jobOnly = []string{"nodes", "cpus-per-rank", "time", "leo", "mpi", "image", "claim", "mount"}

func (j *jobFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&j.kind, "emit", "", "print what starts this training with --ranks processes, and do nothing: slurm or mpirun (a script), kubernetes (manifests)")
	fl.IntVar(&j.nodes, "nodes", 0, "with --emit: machines (default: one for each rank)")
	fl.IntVar(&j.cpus, "cpus-per-rank", 0, "with --emit: processors of a rank (default: whole machines, shared evenly by their ranks)")
	fl.StringVar(&j.time, "time", "24:00:00", "with --emit slurm: limit, after which the job goes on from its checkpoint in the queue")
	fl.IntVar(&j.grace, "grace", 300, "seconds that a step and a checkpoint take: with --emit slurm or kubernetes, so long before the limit ranks are told to stop; a training says whether that is enough")
	fl.StringVar(&j.leo, "leo", "leo", "with --emit: the program on the machines that train")
	fl.StringVar(&j.mpi, "mpi", "openmpi", "with --emit: the MPI there, openmpi or mpich; for slurm also what srun --mpi=list has")
	fl.StringVar(&j.image, "image", "", "with --emit kubernetes: container image with leo, Open MPI and sshd")
	fl.StringVar(&j.claim, "claim", "leo", "with --emit kubernetes: persistent volume claim that holds this folder")
	fl.StringVar(&j.mount, "mount", "", "with --emit kubernetes: where the claim is mounted (default: this folder)")
}

// check finds mistakes in flags that only --emit has, and flags that it has not.
func (j *jobFlags) check(cmd *cobra.Command) error {
	if j.kind == "" {
		for _, name := range jobOnly {
			if cmd.Flags().Changed(name) {
				return usageError{fmt.Errorf("--%s is for --emit: it says how a job is written", name)}
			}
		}
		if j.grace < 1 {
			return usageError{fmt.Errorf("--grace is %d, want 1 second or more", j.grace)}
		}
		return nil
	}
	for _, name := range []string{"device", "plan", "print", "export", "checkpoint", "force", "json", "bandwidth"} {
		if cmd.Flags().Changed(name) {
			return usageError{fmt.Errorf("--emit prints a job, --%s is for something else: give one of them", name)}
		}
	}
	switch {
	case j.kind != "slurm" && j.kind != "mpirun" && j.kind != "kubernetes":
		return usageError{fmt.Errorf("--emit is %q, want slurm, mpirun or kubernetes", j.kind)}
	case j.nodes < 0 || j.cpus < 0:
		return usageError{fmt.Errorf("--nodes is %d, --cpus-per-rank %d: want 0 or more", j.nodes, j.cpus)}
	case !slurmTime.MatchString(j.time):
		return usageError{fmt.Errorf("--time is %q, want hours:minutes:seconds or days-hours:minutes:seconds", j.time)}
	case j.grace < 60 || j.grace > 65535: // what sbatch --signal takes
		return usageError{fmt.Errorf("--grace is %d, want 60 to 65535 seconds", j.grace)}
	case slurmSeconds(j.time) < 2*j.grace: // or it would be stopped as soon as it starts, again and again
		return usageError{fmt.Errorf("--time %s is less than twice the %d seconds of --grace, which end it", j.time, j.grace)}
	case j.kind == "mpirun" && cmd.Flags().Changed("grace"):
		return usageError{errors.New("--grace is for --emit slurm and kubernetes: mpirun waits as long as it takes")}
	case !slurmWord.MatchString(j.mpi):
		return usageError{fmt.Errorf("--mpi is %q, want openmpi or mpich", j.mpi)}
	case j.kind != "slurm" && j.mpi != "openmpi" && j.mpi != "mpich":
		return usageError{fmt.Errorf("--mpi is %q, which only srun may know: want openmpi or mpich", j.mpi)}
	case j.kind != "slurm" && cmd.Flags().Changed("time"):
		return usageError{errors.New("--time is for --emit slurm: nothing else ends a job after a time")}
	}
	return j.checkContainers(cmd)
}

// checkContainers finds mistakes in what only containers have.
func (j *jobFlags) checkContainers(cmd *cobra.Command) error {
	if j.kind != "kubernetes" {
		for _, name := range []string{"image", "claim", "mount"} {
			if cmd.Flags().Changed(name) {
				return usageError{fmt.Errorf("--%s is for --emit kubernetes", name)}
			}
		}
		return nil
	}
	switch {
	case j.image == "" || j.cpus == 0:
		return usageError{errors.New("--emit kubernetes needs --image and --cpus-per-rank: a pod has no machine of its own")}
	case j.mpi != "openmpi":
		return usageError{fmt.Errorf("--mpi is %q: Kubeflow Trainer starts ranks by Open MPI only", j.mpi)}
	case strings.ContainsFunc(j.image+j.claim+j.mount, unicode.IsControl):
		return usageError{errors.New("--image, --claim or --mount has a control character")}
	}
	return nil
}

var (
	slurmTime = regexp.MustCompile(`^([0-9]{1,4}-)?[0-9]{1,6}(:[0-5]?[0-9]){0,2}$`)
	slurmWord = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
)

// slurmSeconds is how long a limit of Slurm's is: minutes, minutes:seconds or hours:minutes:seconds; after days first hours.
func slurmSeconds(limit string) int {
	days, rest, inDays := strings.Cut(limit, "-")
	units := []int{60, 1}
	if !inDays {
		days, rest = "0", limit
	}
	parts := strings.Split(rest, ":")
	if inDays || len(parts) == 3 {
		units = []int{3600, 60, 1}
	}
	n, _ := strconv.Atoi(days) // all are numbers
	seconds := n * 86400
	for i, part := range parts {
		n, _ := strconv.Atoi(part)
		seconds += n * units[i]
	}
	return seconds
}

// job is a training as a scheduler sees it.
type job struct {
	jobFlags
	ranks   int
	perNode int    // ranks of a node
	memory  int64  // of a node, in bytes
	dir     string // where it runs; the recipe's paths are relative to it
	output  string // the run's folder, absolute
	name    string
	command []string // of a rank
}

// makeJob plans a training on many ranks.
func makeJob(cfg *train.Config, flags jobFlags, ranks int, command []string) (*job, error) {
	j := &job{jobFlags: flags, ranks: ranks, name: cfg.Name, command: command}
	if j.nodes == 0 {
		j.nodes = ranks
	}
	if ranks%j.nodes != 0 {
		return nil, usageError{fmt.Errorf("--ranks %d on --nodes %d: the machines cannot have equally many", ranks, j.nodes)}
	}
	j.perNode = ranks / j.nodes
	p, err := train.MakePlan(cfg)
	if err != nil {
		return nil, err
	}
	r, err := p.ForRanks(ranks)
	if err != nil {
		return nil, err
	}
	// A plan has what the training holds; the program, the MPI library and the collector's waste come on top.
	j.memory = int64(j.perNode) * (r.Memory.Total() + r.Memory.Total()/8 + 1<<30)
	if j.dir, err = os.Getwd(); err != nil {
		return nil, err
	}
	if j.output, err = filepath.Abs(cfg.Output); err != nil {
		return nil, err
	}
	if j.mount == "" {
		j.mount = j.dir
	}
	if within, err := filepath.Rel(j.mount, j.dir); err != nil || within == ".." || strings.HasPrefix(within, "../") {
		return nil, usageError{fmt.Errorf("--mount %s does not hold %s, where the training runs", j.mount, j.dir)}
	}
	for what, s := range map[string]string{"the folder": j.dir, "output": j.output, "name": j.name} {
		if strings.ContainsFunc(s, unicode.IsControl) {
			return nil, fmt.Errorf("%s: %q has a character that no job may have", what, s)
		}
	}
	return j, nil
}

// rankCommand is what a rank runs: this command, without what only --emit needs.
func (j *jobFlags) rankCommand(recipe string, sets []string, threads int) []string {
	out := []string{j.leo, "train"}
	if j.kind != "mpirun" {
		out = append(out, "--grace", strconv.Itoa(j.grace))
	}
	out = append(out, recipe)
	for _, s := range sets {
		out = append(out, "--set", s)
	}
	if threads > 0 {
		out = append(out, "--threads", strconv.Itoa(threads))
	}
	return out
}

// emitJob prints a training as a job.
func emitJob(w io.Writer, cfg *train.Config, flags jobFlags, ranks int, command []string) error {
	j, err := makeJob(cfg, flags, ranks, command)
	if err != nil {
		return err
	}
	text := ""
	switch flags.kind {
	case "slurm":
		text = j.slurm()
	case "mpirun":
		text = j.mpirun()
	case "kubernetes":
		text = j.kubernetes()
	}
	_, err = io.WriteString(w, text)
	return err
}

// slurm is a batch script. It submits itself when it is run outside of a job: Slurm does not make the folder of a log.
//
// Since Slurm 22.05 srun does not take --cpus-per-task from the job. Without -K the ranks of a step wait for ever for one
// that was killed.
func (j *job) slurm() string {
	var b strings.Builder
	header := func(format string, args ...any) { fmt.Fprintf(&b, "#SBATCH "+format+"\n", args...) }
	fmt.Fprintf(&b, `#!/bin/sh
# %s on %d ranks, by leo train --emit slurm. Submit it with: sh FILE
# Submit it again after anything: it goes on from the last checkpoint.
`, j.name, j.ranks)
	header("--job-name=%s", shell.Quote(j.name))
	header("--nodes=%d --ntasks=%d --ntasks-per-node=%d", j.nodes, j.ranks, j.perNode)
	cpus := strconv.Itoa(j.cpus)
	if j.cpus > 0 {
		header("--cpus-per-task=%d", j.cpus)
	} else {
		header("--exclusive")
		cpus = `"$SLURM_CPUS_ON_NODE"`
		if j.perNode > 1 {
			cpus = fmt.Sprintf("$((SLURM_CPUS_ON_NODE / %d))", j.perNode)
		}
	}
	header("--mem=%dM", j.memory>>20)
	header("--time=%s", j.time)
	header("--signal=B:USR1@%d --requeue --open-mode=append", j.grace)
	logs := filepath.Join(j.output, "logs")
	header("--output=%s", shell.Quote(strings.ReplaceAll(logs, "%", "%%")+"/slurm-%j.log"))
	mpi := j.mpi
	switch mpi {
	case "openmpi":
		mpi = "pmix"
	case "mpich":
		mpi = "pmi2"
	}
	fmt.Fprintf(&b, `
if [ -z "${SLURM_JOB_ID-}" ]; then
  mkdir -p %s && exec sbatch "$0"
  exit 1
fi
cd %s || exit
`, shell.Quote(logs), shell.Quote(j.dir))
	fmt.Fprintf(&b, `
# Whatever brings it back, it does not start for ever: it ends when it was started twice without a new checkpoint.
starts=%s/slurm-$SLURM_JOB_ID.starts
echo "from $(ls -d %s/step-*/COMMIT 2>/dev/null | sort | tail -n 1)" >>"$starts"
if [ "$(wc -l <"$starts")" -gt 2 ] && [ "$(tail -n 3 "$starts" | uniq | wc -l)" -eq 1 ]; then
  echo "$0: given up: two starts have brought no new checkpoint. Is --time too short for a step, or --grace for a checkpoint?" >&2
  exit 1
fi
`, shell.Quote(logs), shell.Quote(filepath.Join(j.output, "checkpoints")))
	// The last rank may come long after the first: --wait=0 overrides a site's WaitTime, which would kill it.
	launch := fmt.Sprintf("srun -K --wait=0 --ntasks=%d --cpus-per-task=%s --cpu-bind=cores --mpi=%s", j.ranks, cpus, mpi)
	j.guarded(&b, launch, trap("yes", "USR1 USR2")+trap("ended", "TERM"), `
# Stopped before the end, and not to be ended: back into the queue.
if [ "$stopped" = yes ] && [ "$status" != 0 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
`)
	return b.String()
}

// mpirun is a script for machines without a scheduler. What mpirun itself does on SIGTERM and Ctrl-C, killing the ranks a
// moment later, leaves no time for a checkpoint: in a session of its own it gets SIGUSR1 only, which it passes on.
func (j *job) mpirun() string {
	options := fmt.Sprintf("-n %d --map-by ppr:%d:node", j.ranks, j.perNode)
	bind := " --bind-to none"
	if j.cpus > 0 {
		bind = fmt.Sprintf(":PE=%d", j.cpus)
	}
	options += bind
	if j.mpi == "mpich" {
		options = fmt.Sprintf("-n %d -ppn %d -bind-to none", j.ranks, j.perNode)
		if j.cpus > 0 {
			options = fmt.Sprintf("-n %d -ppn %d -bind-to core:%d", j.ranks, j.perNode, j.cpus)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `#!/bin/sh
# %s on %d ranks, by leo train --emit mpirun. Start it with: sh FILE [options of mpirun, such as --hostfile HOSTS]
# Each machine needs %d MiB for it. Start it again after anything: it goes on from the last checkpoint.
cd %s || exit
`, j.name, j.ranks, j.memory>>20, shell.Quote(j.dir))
	j.guarded(&b, "setsid mpirun "+options+` "$@"`, trap("yes", "USR1 USR2 TERM INT HUP"), "")
	return b.String()
}

// trap is the line for signals that have the ranks stop.
func trap(stopped, signals string) string {
	return fmt.Sprintf("trap 'stopped=%s; [ -z \"$ranks\" ] || kill -USR1 \"$ranks\" 2>/dev/null' %s\n", stopped, signals)
}

// guarded starts the ranks, passes a signal that ends the run on to them, waits for their checkpoint and keeps their status.
// A wait that a signal breaks off is begun again.
func (j *job) guarded(b *strings.Builder, launch, traps, after string) {
	quoted := make([]string, len(j.command))
	for i, word := range j.command {
		quoted[i] = shell.Quote(word)
	}
	fmt.Fprintf(b, `
# Told to stop, all ranks write a checkpoint after their step, and end.
ranks="" stopped=""
%s%s \
  %s &
ranks=$!
[ -z "$stopped" ] || kill -USR1 "$ranks"
wait "$ranks"
status=$?
while kill -0 "$ranks" 2>/dev/null; do
  wait "$ranks"
  status=$?
done
%sexit "$status"
`, traps, launch, strings.Join(quoted, " "), after)
}
