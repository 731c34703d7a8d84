package cluster

import (
	"fmt"
	"strconv"
	"strings"
)

// World is what the launcher says of this process, before any library is asked.
type World struct {
	Launcher string // such as "Open MPI"; "" for a process that was started by itself
	Rank     int
	Size     int // 0 if the launcher does not say

	LocalRank int // among the ranks of this node; -1 if the launcher does not say
	LocalSize int // 0 if the launcher does not say

	Restart int // how often the job was started again
}

// LauncherError says that the launcher's variables make no sense.
type LauncherError struct {
	Launcher string
	Name     string // the variable
	Value    string
	Problem  string
}

func (e *LauncherError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("cluster: %s: %s %s", e.Launcher, e.Name, e.Problem)
	}
	return fmt.Sprintf("cluster: %s: %s=%s %s", e.Launcher, e.Name, e.Value, e.Problem)
}

// launcher is a way of saying who a process is. Names of variables, alternatives apart by a space.
type launcher struct {
	name                 string
	sign                 string // the variable that tells the launcher
	rank, size           string
	localRank, localSize string
	numeric              bool // sign must be a number
	sizeUnknown          bool // the launcher may leave size out
}

// launchers, in the order in which they are looked for: mpirun starts its ranks through srun where it can, so Slurm's
// variables may be those of mpirun's helpers.
var launchers = []launcher{
	{name: "LEO_RANK", sign: "LEO_RANK", rank: "LEO_RANK", size: "LEO_SIZE", localRank: "LEO_LOCAL_RANK", localSize: "LEO_LOCAL_SIZE"},
	{name: "Open MPI", sign: "OMPI_COMM_WORLD_RANK", rank: "OMPI_COMM_WORLD_RANK", size: "OMPI_COMM_WORLD_SIZE",
		localRank: "OMPI_COMM_WORLD_LOCAL_RANK", localSize: "OMPI_COMM_WORLD_LOCAL_SIZE"},
	{name: "MVAPICH", sign: "MV2_COMM_WORLD_RANK", rank: "MV2_COMM_WORLD_RANK", size: "MV2_COMM_WORLD_SIZE",
		localRank: "MV2_COMM_WORLD_LOCAL_RANK", localSize: "MV2_COMM_WORLD_LOCAL_SIZE"},
	// Hydra of MPICH and Intel MPI, Slurm's PMI-2, Cray PALS.
	{name: "PMI", sign: "PMI_RANK", rank: "PMI_RANK", size: "PMI_SIZE",
		localRank: "MPI_LOCALRANKID PALS_LOCAL_RANKID SLURM_LOCALID", localSize: "MPI_LOCALNRANKS PALS_LOCAL_SIZE"},
	// In a batch script, outside of srun, SLURM_PROCID is 0 and SLURM_NTASKS the whole job's: there is no step then.
	{name: "Slurm", sign: "SLURM_STEP_ID", numeric: true, rank: "SLURM_PROCID", size: "SLURM_STEP_NUM_TASKS SLURM_NTASKS", localRank: "SLURM_LOCALID"},
	{name: "Flux", sign: "FLUX_TASK_RANK", rank: "FLUX_TASK_RANK", size: "FLUX_JOB_SIZE", localRank: "FLUX_TASK_LOCAL_ID"},
	{name: "PMIx", sign: "PMIX_RANK", rank: "PMIX_RANK", size: "LEO_SIZE", sizeUnknown: true},
	{name: "torchrun", sign: "WORLD_SIZE", rank: "RANK", size: "WORLD_SIZE", localRank: "LOCAL_RANK", localSize: "LOCAL_WORLD_SIZE"},
	{name: "Kubeflow", sign: "PET_NNODES", rank: "PET_NODE_RANK", size: "PET_NNODES"},
	{name: "Kubeflow", sign: "JAX_NUM_PROCESSES", rank: "JAX_PROCESS_ID", size: "JAX_NUM_PROCESSES"},
	{name: "Kubernetes", sign: "JOB_COMPLETION_INDEX", rank: "JOB_COMPLETION_INDEX", size: "LEO_SIZE"},
}

// Detect reads who this process is from the environment, through getenv ("" for what is not set).
func Detect(getenv func(string) string) (World, error) {
	w := World{LocalRank: -1}
	for _, name := range []string{"SLURM_RESTART_COUNT", "PET_RESTART_COUNT"} {
		if n, err := strconv.Atoi(getenv(name)); err == nil && n > 0 {
			w.Restart = n
		}
	}
	for _, l := range launchers {
		if s := getenv(l.sign); s == "" {
			continue
		} else if _, err := strconv.ParseUint(s, 10, 32); l.numeric && err != nil {
			continue // SLURM_STEP_ID=batch
		}
		err := l.read(getenv, &w)
		return w, err
	}
	// A size alone, as a job's template may set it for all pods.
	if s := getenv("LEO_SIZE"); s != "" && s != "1" {
		return w, &LauncherError{"LEO_SIZE", "LEO_RANK", "", "is not set, and no launcher says this process's rank"}
	}
	w.Size = 1
	return w, nil
}

// read fills in what the launcher says.
func (l *launcher) read(getenv func(string) string, w *World) error {
	w.Launcher = l.name
	number := func(names string, least int) (int, string, error) {
		first := ""
		for name := range strings.FieldsSeq(names) {
			if first == "" {
				first = name
			}
			s := getenv(name)
			if s == "" {
				continue
			}
			n, err := strconv.Atoi(s)
			if err != nil || n < least || n > 1<<24 {
				return 0, name, &LauncherError{l.name, name, s, fmt.Sprintf("is no number from %d", least)}
			}
			return n, name, nil
		}
		return -1, first, nil
	}
	rank, rankName, err := number(l.rank, 0)
	if err != nil {
		return err
	}
	size, sizeName, err := number(l.size, 1)
	if err != nil {
		return err
	}
	switch {
	case rank < 0:
		return &LauncherError{l.name, rankName, "", "is not set"}
	case size < 0 && !l.sizeUnknown:
		return &LauncherError{l.name, sizeName, "", "is not set: the number of processes"}
	case size >= 0 && rank >= size:
		return &LauncherError{l.name, rankName, strconv.Itoa(rank), fmt.Sprintf("is no rank of %s=%d", sizeName, size)}
	}
	w.Rank, w.Size = rank, max(size, 0)
	if w.LocalRank, _, err = number(l.localRank, 0); err != nil {
		return err
	}
	local, _, err := number(l.localSize, 1)
	w.LocalSize = max(local, 0)
	return err
}
