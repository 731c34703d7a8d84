#!/usr/bin/env bash
# Fuzzes every parser, one after the other, and keeps what it found as seeds.
#
#   bench/fuzz.sh 10m                 # each target ten minutes
#   bench/fuzz.sh 30s checkpoint      # only packages whose path contains the word
#
# Of the inputs that reached new code, up to KEEP (24) of at most 2 KB are copied into testdata/fuzz/TARGET of the
# package, where `go test` runs them from then on; a crash is written there by Go itself and ends with status 1.
set -uo pipefail
cd "$(dirname "$0")/.."
time=${1:?how long for each target, such as 10m}
only=${2:-}
keep=${KEEP:-24}
cache=$(go env GOCACHE)/fuzz
module=$(go list -m)
failed=0
grep -rn --include=*_test.go -oE '^func Fuzz[A-Za-z0-9]+' tokenizer chat checkpoint dataset eval internal/constrain internal/pyjson internal/recipe internal/report internal/textcheck |
  sed -E 's|^(.*)/[^/]+:[0-9]+:func (Fuzz.*)$|\1 \2|' | sort -u > /tmp/fuzz-targets.$$
while read -r package target; do
  case $package/$target in *"$only"*) ;; *) continue ;; esac
  printf '\n== %s %s\n' "$package" "$target"
  if ! go test "./$package" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x -parallel "${P:-2}" < /dev/null 2>&1 | grep -v 'elapsed: .*s, execs.*gathering'; then
    failed=1
  fi
  seeds=$package/testdata/fuzz/$target
  found=$cache/$module/$package/$target
  [ -d "$found" ] || continue
  mkdir -p "$seeds"
  # File names are hashes, so that their order is a fair draw.
  find "$found" -type f -size -3 -printf '%f\n' | sort | while read -r name; do
    [ "$(find "$seeds" -type f | wc -l)" -lt "$keep" ] || break
    cp -n "$found/$name" "$seeds/$name"
  done
done < /tmp/fuzz-targets.$$
rm -f /tmp/fuzz-targets.$$
exit $failed
