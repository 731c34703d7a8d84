#!/usr/bin/env bash
# leo train and leo data corpus as jobs of a real Slurm: two virtual nodes on this machine, which the test starts and ends.
# Installs Debian's packages, if it is root and apt is there; exits with 2 where Slurm is neither there nor to be had so. The
# services of the packages stay off: the test has its own.
set -euo pipefail
cd "$(dirname "$0")/../.."

here() { command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null; }
if ! here && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  # What a package would start now, it does not.
  policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && trap 'rm -f "$policy"' EXIT; }
  packages="slurm-wlm munge libpmix-dev openmpi-bin" # libpmix-dev: the plugin of bookworm looks for libpmix.so
  install() { timeout 300 apt-get install -qq -y --no-install-recommends $packages >/dev/null 2>&1; }
  install || { timeout 120 apt-get update -qq && install; } || echo "apt has not installed $packages"
fi
if ! here || [ "$(id -u)" != 0 ]; then
  echo "without Slurm: it needs root, and slurmctld, slurmd and munged (Debian: slurm-wlm, munge)"
  exit 2
fi
LEO_SLURM_TESTS=1 CGO_ENABLED=0 go test -count=1 -run '^TestSlurm' -v ./cmd/leo | grep -av '^=== '
