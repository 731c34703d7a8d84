#!/usr/bin/env bash
# Tests of internal/cluster, leo train and commands that share models with processes as ranks, under every MPI of this machine that has an mpirun of its own name
# (Debian: openmpi-bin, mpich). Installs nothing; exits with 2 if there is none.
set -euo pipefail
cd "$(dirname "$0")/../.."

found=
for launcher in mpirun.openmpi mpirun.mpich; do
  if command -v "$launcher" >/dev/null; then
    found=yes
  else
    echo "without $launcher"
  fi
done
[ -n "$found" ] || exit 2
# Without cgo, as Leo is built.
export LEO_MPI_TESTS=1 CGO_ENABLED=0
go test -count=1 -run '^TestMPI' -v ./internal/cluster | grep -av '^=== '
go test -count=1 -run '^Test(Training|Shared.*)UnderMPI' -v ./cmd/leo | grep -av '^=== '
