// Command cluster measures Leo's all-reduce of float32 beside that of a C program with the same MPI library.
//
//	go build -o /tmp/cluster ./bench/cluster && /tmp/cluster -mpi openmpi -ranks 2 -bytes 64000000
//
// It compiles c/allreduce.c with mpicc.openmpi or mpicc.mpich, and starts both programs in turn by mpirun of the same
// MPI; a round is one start of each. Each prints the seconds of its slowest rank. The machine should be idle otherwise.
// The C program adds in the order that the library likes, in float32; Leo in the order of ranks, rounded once.
package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"leolm/internal/cluster"
)

//go:embed c/allreduce.c
var source []byte

func main() {
	mpi := flag.String("mpi", "openmpi", "openmpi or mpich: the ending of mpirun and mpicc")
	ranks := flag.Int("ranks", 2, "processes")
	size := flag.Int("bytes", 64_000_000, "bytes of the buffer")
	turns := flag.Int("turns", 10, "reductions in a round")
	rounds := flag.Int("rounds", 5, "starts of each program")
	rank := flag.Bool("rank", false, "be a rank of Leo's side; the other flags say of what")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := func() error { return compare(ctx, *mpi, *ranks, *size, *turns, *rounds) }
	if *rank {
		run = func() error { return reduce(ctx, *size, *turns) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		cluster.Exit(1)
	}
	cluster.Exit(0)
}

// reduce is a rank of Leo's side: what c/allreduce.c does.
func reduce(ctx context.Context, size, turns int) error {
	w, err := cluster.Detect(os.Getenv)
	if err != nil {
		return err
	}
	c, err := cluster.Open(ctx, w, cluster.Options{})
	if err != nil {
		return err
	}
	x := make([]float32, size/4)
	for i := range x {
		x[i] = float32(i%1000) * 1e-6
	}
	for t := range turns + 2 {
		if err := c.Barrier(ctx); err != nil {
			return err
		}
		start := time.Now()
		if err := cluster.AllReduce(c, cluster.Sum, x).Wait(ctx); err != nil {
			return err
		}
		took := []float64{time.Since(start).Seconds()}
		if err := cluster.AllReduce(c, cluster.Max, took).Wait(ctx); err != nil {
			return err
		}
		if c.Rank() == 0 && t >= 2 {
			fmt.Printf("seconds %.9f\n", took[0])
		}
		for i := range x {
			x[i] *= 0.5
		}
	}
	return c.Close(ctx)
}

// compare starts both programs in turn.
func compare(ctx context.Context, mpi string, ranks, size, turns, rounds int) error {
	dir, err := os.MkdirTemp("", "leo-cluster")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "allreduce")
	if err := os.WriteFile(program+".c", source, 0o666); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "mpicc."+mpi, "-O2", "-o", program, program+".c").CombinedOutput(); err != nil {
		return fmt.Errorf("mpicc.%s: %w\n%s", mpi, err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var c, leo []float64
	for round := range rounds {
		a, err := start(ctx, mpi, ranks, program, strconv.Itoa(size), strconv.Itoa(turns))
		if err != nil {
			return err
		}
		b, err := start(ctx, mpi, ranks, self, "-rank", "-bytes", strconv.Itoa(size), "-turns", strconv.Itoa(turns))
		if err != nil {
			return err
		}
		c, leo = append(c, slices.Min(a)), append(leo, slices.Min(b))
		fmt.Printf("round %d: C %.3f ms, Leo %.3f ms (best of %d)\n", round+1, c[round]*1e3, leo[round]*1e3, turns)
	}
	slices.Sort(c)
	slices.Sort(leo)
	fmt.Printf("%s, %d ranks, %d bytes: C %.3f ms (%.3f to %.3f), Leo %.3f ms (%.3f to %.3f), median of %d rounds; Leo has %.2f of C's speed\n",
		mpi, ranks, size, c[rounds/2]*1e3, c[0]*1e3, c[rounds-1]*1e3,
		leo[rounds/2]*1e3, leo[0]*1e3, leo[rounds-1]*1e3, rounds, c[rounds/2]/leo[rounds/2])
	return nil
}

// start runs a program's ranks and reads their seconds.
func start(ctx context.Context, mpi string, ranks int, program string, args ...string) ([]float64, error) {
	launch := []string{"-n", strconv.Itoa(ranks), "-bind-to", "none"}
	if mpi == "openmpi" {
		launch = append(launch, "--oversubscribe")
	}
	cmd := exec.CommandContext(ctx, "mpirun."+mpi, append(append(launch, program), args...)...)
	cmd.Env = append(os.Environ(), "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	var seconds []float64
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "seconds "); ok {
			s, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, err
			}
			seconds = append(seconds, s)
		}
	}
	if len(seconds) == 0 {
		return nil, errors.Join(fmt.Errorf("%s printed no seconds", program), errors.New(string(out)))
	}
	return seconds, nil
}
