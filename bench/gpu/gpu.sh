#!/usr/bin/env bash
# Everything that is to be known of a real GPU, in less than 8 minutes, on a machine that has neither Go nor a network:
#
#   bench/gpu/gpu.sh pack FILE.tgz     here: programs, a text, and Vulkan's loader as a Debian package, if apt has one
#   DIR/gpu.sh run REPORT [--small]    there, DIR being where FILE.tgz was unpacked. The report is written as results come
#
# --small is the dry run: tiny models, for a driver that computes on the processor. The whole run takes 32 GB of disk in
# TMPDIR and 64 GB of memory; models have random weights, made there. Parts that time is too short for are named.
set -euo pipefail

pack() {
  file=$(realpath -m "$1") dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
  cd "$(dirname "$0")/../.."
  export CGO_ENABLED=0
  go build -ldflags="-s -w" -o "$dir/leo" ./cmd/leo
  go build -ldflags="-s -w" -o "$dir/random" ./bench/gpu
  go build -ldflags="-s -w" -o "$dir/train" ./bench/train
  go test -c -ldflags="-s -w" -o "$dir/device.test" ./device/vulkan
  head -c 20000 models/leo-mini/answers.md | iconv -c -f utf-8 -t utf-8 >"$dir/text.txt"
  cp bench/gpu/gpu.sh "$dir"
  git rev-parse HEAD >"$dir/commit"
  (cd "$dir" && apt-get download -qq libvulkan1 2>/dev/null) || echo "apt has no libvulkan1 here: the loader must be there" >&2
  tar -C "$dir" -czf "$file" .
  ls -sh "$file"
}

# The whole run must end before this many seconds.
budget=470

# step NAME SECONDS COMMAND… runs a part, if it can end in time; its failure is a line of the report.
step() {
  local name=$1 limit=$2 began=$SECONDS
  shift 2
  if [ $((SECONDS + 10)) -gt "$budget" ]; then
    printf '\n## %s\nleft out: %d s have passed\n' "$name" "$SECONDS"
    return
  fi
  [ $((SECONDS + limit)) -le "$budget" ] || limit=$((budget - SECONDS))
  printf '\n## %s (at %d s)\n' "$name" "$SECONDS"
  local rc=0
  timeout -k 5 "$limit" "$@" 2>&1 || rc=$?
  echo "-- status $rc after $((SECONDS - began)) s"
}

# loader makes Vulkan's loader and the driver found, where they are not.
loader() {
  if ! ldconfig -p 2>/dev/null | grep -q libvulkan.so.1; then
    for f in ./*.deb; do [ -e "$f" ] && dpkg -x "$f" "$work/loader"; done
    LD_LIBRARY_PATH=$(find "$work/loader" -name 'libvulkan.so.1' -printf '%h' -quit 2>/dev/null)
    export LD_LIBRARY_PATH
  fi
  if ! ./leo version --devices 2>/dev/null | grep -q '^gpu:'; then
    for f in /usr/local/nvidia/share/vulkan/icd.d/*.json; do [ -e "$f" ] && export VK_DRIVER_FILES=$f; done
  fi
}

# models are made in turn by processes beside each other, smallest first.
models() {
  for shape in "${shapes[@]}"; do
    for type in q4_0 q8_0 bf16; do
      (nice ./random "$work/$shape-$type.part" "$shape" "$type" && mv "$work/$shape-$type.part" "$work/$shape-$type.gguf") &
    done
  done
}

# bench waits for a model and measures it.
bench() {
  local file=$work/$1.gguf
  shift
  while [ ! -e "$file" ]; do sleep 1; done
  ./leo bench --device gpu --model "$file" "$@"
}
export -f bench

steps() { for _ in $(seq "$1"); do echo step; done; }

run() {
  cd "$(dirname "$0")"
  work=$(mktemp -d)
  export work
  trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
  shapes=(1b 7b) prompts=512 tokens=64 runs=3 batch=1,8 tests=Compliance suite=150 text=20000
  if [ "${1:-}" = --small ]; then
    shapes=(tiny) prompts=16 tokens=4 runs=1 batch=1,2 tests='Compliance/(Elementwise|Embed)' suite=60 text=1000
  fi
  head -c "$text" text.txt | iconv -c -f utf-8 -t utf-8 >"$work/text.txt"
  loader
  models
  echo "# Leo on a GPU, commit $(cat commit), $(date -u '+%F %T')"
  step "The machine" 20 sh -c 'nproc; free -g | head -2; df -h "$work" | tail -1; nvidia-smi -L; ./leo version --devices'
  step "Limits" 30 ./leo bench --device gpu
  step "Devicetest and bits" "$suite" ./device.test -test.run "$tests|Tiles|RowsOf|Limits"
  step "Perplexity on the processor" 60 ./leo eval perplexity --device cpu "$work/text.txt"
  step "Perplexity on the GPU" 60 ./leo eval perplexity --device gpu "$work/text.txt"
  step "Perplexity without matrix units" 60 env LEO_VULKAN_MASK=VK_KHR_cooperative_matrix ./leo eval perplexity --device gpu "$work/text.txt"
  for shape in "${shapes[@]}"; do
    for type in q4_0 q8_0 bf16; do
      step "$shape $type" 90 bash -c "bench $shape-$type --prompt $prompts --sequences $batch -n $tokens --runs $runs"
    done
  done
  step "${shapes[-1]} q4_0 without matrix units" 60 env LEO_VULKAN_MASK=VK_KHR_cooperative_matrix \
    bash -c "bench ${shapes[-1]}-q4_0 --prompt $prompts --sequences 1 -n $tokens --runs 1"
  if [ "${1:-}" = --small ]; then
    step "Training steps of 7M" 100 bash -c './train 7M bf16 64 1 gpu < <(echo step)'
  else
    step "Training steps of 110M, 4096 tokens" 60 bash -c './train 110M bf16 512 8 gpu < <(steps 3)'
    step "Training steps of 1.1B, 4096 tokens" 90 bash -c './train 1.1B bf16 512 4 gpu < <(steps 2)'
  fi
  printf '\nThe end, after %d s.\n' "$SECONDS"
}
export -f steps

export LEO_VULKAN_TESTS=1
case "${1:-} ${2:+given}" in
  "pack given") pack "$2" ;;
  "run given")
    report=$(realpath -m "$2")
    shift 2
    run "$@" 2>&1 | tee "$report"
    ;;
  *)
    sed -n '2,10p' "$0" >&2
    exit 2
    ;;
esac
