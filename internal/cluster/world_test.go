package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// environment reads "A=1 B=2".
func environment(list string) func(string) string {
	set := map[string]string{}
	for _, e := range strings.Fields(list) {
		name, value, _ := strings.Cut(e, "=")
		set[name] = value
	}
	return func(name string) string { return set[name] }
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		env  string
		want World
	}{
		{"", World{Size: 1, LocalRank: -1}},
		{"LEO_SIZE=1", World{Size: 1, LocalRank: -1}},
		{"LEO_RANK=2 LEO_SIZE=3 OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1", World{Launcher: "LEO_RANK", Rank: 2, Size: 3, LocalRank: -1}},
		{"OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=2",
			World{Launcher: "Open MPI", Rank: 3, Size: 4, LocalRank: 1, LocalSize: 2}},
		// mpirun starts its helper on another node through srun; the ranks inherit that step's variables.
		{"OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 SLURM_STEP_ID=1 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=8",
			World{Launcher: "Open MPI", Rank: 3, Size: 4, LocalRank: -1}},
		{"PMI_RANK=1 PMI_SIZE=2 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2", World{Launcher: "PMI", Rank: 1, Size: 2, LocalRank: 1, LocalSize: 2}},
		{"PMI_RANK=1 PMI_SIZE=2 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 SLURM_LOCALID=1",
			World{Launcher: "PMI", Rank: 1, Size: 2, LocalRank: 1}},
		{"SLURM_STEP_ID=0 SLURM_PROCID=5 SLURM_STEP_NUM_TASKS=6 SLURM_NTASKS=12 SLURM_LOCALID=2 PMIX_RANK=5 SLURM_RESTART_COUNT=2",
			World{Launcher: "Slurm", Rank: 5, Size: 6, LocalRank: 2, Restart: 2}},
		{"SLURM_STEP_ID=0 SLURM_PROCID=5 SLURM_NTASKS=12", World{Launcher: "Slurm", Rank: 5, Size: 12, LocalRank: -1}},
		// A batch script, outside of srun: one process, whatever the job has.
		{"SLURM_PROCID=0 SLURM_NTASKS=8", World{Size: 1, LocalRank: -1}},
		{"SLURM_STEP_ID=batch SLURM_PROCID=0 SLURM_NTASKS=8", World{Size: 1, LocalRank: -1}},
		{"PMIX_RANK=4", World{Launcher: "PMIx", Rank: 4, LocalRank: -1}},
		{"MV2_COMM_WORLD_RANK=1 MV2_COMM_WORLD_SIZE=2", World{Launcher: "MVAPICH", Rank: 1, Size: 2, LocalRank: -1}},
		{"FLUX_TASK_RANK=0 FLUX_JOB_SIZE=1 FLUX_TASK_LOCAL_ID=0", World{Launcher: "Flux", Size: 1}},
		{"RANK=1 WORLD_SIZE=2 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1", World{Launcher: "torchrun", Rank: 1, Size: 2, LocalSize: 1}},
		{"RANK=1", World{Size: 1, LocalRank: -1}}, // too common a name to mean anything alone
		{"PET_NODE_RANK=1 PET_NNODES=2", World{Launcher: "Kubeflow", Rank: 1, Size: 2, LocalRank: -1}},
		{"JAX_PROCESS_ID=1 JAX_NUM_PROCESSES=2", World{Launcher: "Kubeflow", Rank: 1, Size: 2, LocalRank: -1}},
		{"JOB_COMPLETION_INDEX=1 LEO_SIZE=2", World{Launcher: "Kubernetes", Rank: 1, Size: 2, LocalRank: -1}},
	} {
		got, err := Detect(environment(c.env))
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.env, got, err, c.want)
		}
	}
}

func TestDetectRefuses(t *testing.T) {
	for _, c := range []struct{ env, want string }{
		{"LEO_SIZE=4", "LEO_RANK is not set"},
		{"LEO_RANK=4", "LEO_SIZE is not set"},
		{"LEO_RANK=4 LEO_SIZE=4", "LEO_RANK=4 is no rank of LEO_SIZE=4"},
		{"OMPI_COMM_WORLD_RANK=x OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_RANK=x is no number"},
		{"OMPI_COMM_WORLD_RANK=-1 OMPI_COMM_WORLD_SIZE=4", "is no number from 0"},
		{"PMI_RANK=0 PMI_SIZE=0", "PMI_SIZE=0 is no number from 1"},
		{"PMI_RANK=0 PMI_SIZE=99999999999999999999", "is no number"},
		{"SLURM_STEP_ID=0 SLURM_NTASKS=2", "SLURM_PROCID is not set"},
		{"WORLD_SIZE=2", "RANK is not set"},
		{"JOB_COMPLETION_INDEX=1", "Kubernetes: LEO_SIZE is not set"},
		{"OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_LOCAL_RANK=q", "LOCAL_RANK=q"},
	} {
		_, err := Detect(environment(c.env))
		if e := (*LauncherError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.env, err, c.want)
		}
	}
}

// A process by itself is a group of one; several ranks need a back end that reaches them.
func TestOpen(t *testing.T) {
	c, err := Open(t.Context(), World{Size: 1}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Rank() != 0 || c.Size() != 1 || c.Backend() != "local" || c.Place().Threads < 1 {
		t.Errorf("rank %d of %d, %s, %+v", c.Rank(), c.Size(), c.Backend(), c.Place())
	}
	for _, s := range scenarios {
		if err := s.run(t.Context(), c); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		w    World
		o    Options
		want string
	}{
		{World{Launcher: "Slurm", Size: 2}, Options{Backend: "local"}, "says 2 ranks; the local back end has one"},
		{World{Size: 1}, Options{Backend: "smoke"}, `unknown back end "smoke"`},
		{World{Launcher: "Slurm", Size: 2}, Options{Library: "libnone.so.3"}, "no MPI library could be loaded:\n  lib"},
	} {
		if _, err := Open(t.Context(), c.w, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}

func TestPlace(t *testing.T) {
	seat := func(machine, cpus string) Seat { return Seat{Node: "n", Machine: machine, CPUs: cpus} }
	for _, c := range []struct {
		name  string
		seats []Seat // this rank's first
		want  Place
	}{
		{"alone", []Seat{seat("a", "0-7")}, Place{CPUs: 8, Ranks: 1, Threads: 8}},
		{"bound", []Seat{seat("a", "0-3"), seat("a", "4-7")}, Place{CPUs: 4, Ranks: 1, Threads: 4}},
		{"shared", []Seat{seat("a", "0-7"), seat("a", "0-7"), seat("a", "0-7")}, Place{CPUs: 8, Ranks: 3, Threads: 2}},
		{"too many", []Seat{seat("a", "1"), seat("a", "0-7")}, Place{CPUs: 1, Ranks: 2, Threads: 1}},
		{"other machine", []Seat{seat("a", "0-3,8"), seat("b", "0-3,8")}, Place{CPUs: 5, Ranks: 1, Threads: 5}},
		{"unknown", []Seat{seat("", ""), seat("", "")}, Place{Ranks: 1, Threads: 1}},
		{"nonsense", []Seat{seat("a", "5-2,x,-1,0-99999999")}, Place{Ranks: 1, Threads: 1}},
	} {
		got := (&Comm{seats: c.seats}).Place()
		got.Online = 0
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if odd := (Place{CPUs: 1, Ranks: 1, Threads: 1, Online: 8}).odd(); !strings.Contains(odd, "one processor of the machine's 8") {
		t.Errorf("bound to one: %q", odd)
	}
	if odd := (Place{CPUs: 2, Ranks: 3, Threads: 1, Online: 2}).odd(); !strings.Contains(odd, "3 ranks share 2 processors") {
		t.Errorf("crowded: %q", odd)
	}
	if odd := (Place{CPUs: 4, Ranks: 2, Threads: 2, Online: 4}).odd(); odd != "" {
		t.Errorf("nothing odd: %q", odd)
	}
}

// Threads that a user asked for are more than the ranks have processors, or they are not.
func TestCrowded(t *testing.T) {
	for _, c := range []struct {
		place   Place
		threads int
		crowded bool
	}{
		{Place{CPUs: 2, Ranks: 2, Threads: 1}, 1, false},
		{Place{CPUs: 2, Ranks: 2, Threads: 1}, 2, true},
		{Place{CPUs: 8, Ranks: 2, Threads: 4}, 4, false},
		{Place{CPUs: 1, Ranks: 1, Threads: 1}, 2, true},
		{Place{Ranks: 2, Threads: 1}, 9, false}, // on a system that does not say
	} {
		if said := c.place.Crowded(c.threads); (said != "") != c.crowded {
			t.Errorf("%+v, %d threads: %q", c.place, c.threads, said)
		}
	}
}
