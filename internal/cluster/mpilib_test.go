//go:build linux && !nodl && (amd64 || arm64)

package cluster

import (
	"errors"
	"strings"
	"testing"
)

// The launcher's own library is tried first, and a name that the user gives is the only one.
func TestMPINames(t *testing.T) {
	for _, c := range []struct {
		launcher, env string
		o             Options
		first         string
		count         int
	}{
		{"Open MPI", "", Options{}, "libmpi.so.40", 5},
		{"Open MPI", "OPAL_PREFIX=/opt/ompi", Options{}, "/opt/ompi/lib/libmpi.so.40", 6},
		{"PMI", "", Options{}, "libmpi.so.12", 5},
		{"PMI", "I_MPI_ROOT=/opt/intel PMIX_RANK=0", Options{}, "/opt/intel/intel64/lib/release/libmpi.so.12", 8},
		{"Slurm", "PMIX_RANK=1", Options{}, "libmpi.so.40", 5},
		{"Slurm", "", Options{}, "libmpi.so.12", 5},
		{"Open MPI", "LEO_MPI=/x/libmpi.so", Options{}, "/x/libmpi.so", 1},
		{"Open MPI", "LEO_MPI=/x/libmpi.so", Options{Library: "libother.so"}, "libother.so", 1},
	} {
		got := mpiNames(World{Launcher: c.launcher}, c.o, environment(c.env))
		if got[0] != c.first || len(got) != c.count {
			t.Errorf("%s, %s: %q", c.launcher, c.env, got)
		}
	}
}

// Which ABI a library has is seen by its symbols, its name and its own words.
func TestChooseABI(t *testing.T) {
	for _, c := range []struct {
		file, version, symbols string
		want                   string // "" for none
		world                  uintptr
	}{
		{"libmpi.so.40", "Open MPI v5.0.3", "ompi_mpi_comm_world ompi_mpi_byte ompi_mpi_errors_return MPI_Abi_get_version", "Open MPI", 1},
		{"libmpi.so.40", "Open MPI v5.0.3", "ompi_mpi_comm_world ompi_mpi_byte", "", 0},
		{"libmpi.so.12", "MPICH Version: 4.3.0", "MPI_Abi_get_version", "MPICH", 0x44000000},
		{"/opt/intel/lib/libmpi.so.12", "Intel(R) MPI Library 2021.11 for Linux* OS", "", "MPICH", 0x44000000},
		{"libmpi_abi.so.1", "MPICH Version: 5.0.0", "MPI_Abi_get_version", "MPI ABI", 0x101},
		{"libmpi.so", "Homemade MPI 0.1", "", "", 0},
	} {
		lib := &mpiLib{file: c.file, version: c.version}
		err := lib.chooseABI(func(name string) (uintptr, error) {
			for i, s := range strings.Fields(c.symbols) {
				if s == name {
					return uintptr(i + 1), nil
				}
			}
			return 0, errors.New("undefined symbol: " + name)
		})
		if (err == nil) != (c.want != "") || err == nil && (lib.name != c.want || lib.world != c.world) {
			t.Errorf("%s, %s: %q, %#x, %v", c.file, c.version, lib.name, lib.world, err)
		}
	}
}
