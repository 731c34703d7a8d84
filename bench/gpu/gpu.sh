#!/usr/bin/env bash
# Everything that is to be known of a real GPU, in less than 8 minutes, on a machine that has neither Go nor a network:
#
#   bench/gpu/gpu.sh pack FILE.tgz     here: programs, a text, and Vulkan's loader as a Debian package, if apt has one
#   DIR/gpu.sh run REPORT [--small]    there, DIR being where FILE.tgz was unpacked. The report is written as results come
#
# --small is the dry run: tiny models, for a driver that computes on the processor. Models have random weights, made there
# while other parts run: 28.5 GB, and 1.5 GB for a moment, in /dev/shm where that and the memory are large enough for them,
# else in TMPDIR. The report ends with the parts that failed, were cut off or left out.
#
# What to expect, in seconds, with 16 cores: models 20 in memory, beside the parts before them (one core of a Zen 4 needs for
# the layer that is made and the vocabulary of 7B 47 in q4_0, 34 in q8_0, 2 in bf16; and 0.6 for each GB that is written to
# memory, 1.9 on a disk); limits 10; devicetest up to 150, most of it the driver's compiler; perplexity 3 times 10; seven
# benchmarks of 10 to 25, of which loading takes 1 to 10 (2 GB/s); training steps 10 and 40. Together 4 to 7 minutes.
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

# The whole run must end before this many seconds. Limits of parts are meant for a GPU: slow multiplies them.
budget=470 slow=1

# What the report ends with: parts that there are no results of.
missing=()

# step NAME SECONDS COMMAND… runs a part, if it can end in time; its failure is a line of the report.
step() {
  local name=$1 limit=$(($2 * slow)) began=$SECONDS rc=0
  shift 2
  if [ $((SECONDS + 10)) -gt "$budget" ]; then
    printf '\n## %s\nleft out: %d s have passed\n' "$name" "$SECONDS"
    missing+=("$name: left out")
    return
  fi
  [ $((SECONDS + limit)) -le "$budget" ] || limit=$((budget - SECONDS))
  printf '\n## %s (at %d s)\n' "$name" "$SECONDS"
  timeout -k 5 "$limit" "$@" 2>&1 || rc=$?
  case $rc in
    0) ;;
    124 | 137) missing+=("$name: cut off after $limit s") ;;
    *) missing+=("$name: failed with status $rc") ;;
  esac
  echo "-- status $rc after $((SECONDS - began)) s"
}

# loader makes Vulkan's loader and the driver found, where they are not.
loader() {
  if ! ldconfig -p 2>/dev/null | grep -q libvulkan.so.1; then
    for f in ./*.deb; do [ -e "$f" ] && dpkg -x "$f" "$work/loader"; done
    LD_LIBRARY_PATH=$(find "$work" -name 'libvulkan.so.1' -printf '%h' -quit)
    export LD_LIBRARY_PATH
  fi
  if ! ./leo version --devices 2>/dev/null | grep -q '^gpu:'; then
    for f in /usr/local/nvidia/share/vulkan/icd.d/*.json; do [ -e "$f" ] && export VK_DRIVER_FILES=$f; done
  fi
}

# place prints the folder for the models: that of memory, if it is large enough.
place() {
  local shm memory
  shm=$(df --output=avail -k /dev/shm 2>/dev/null | tail -1) memory=$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)
  if [ "${shm:-0}" -gt 34000000 ] && [ "${memory:-0}" -gt 90000000 ]; then echo /dev/shm; else echo "${TMPDIR:-/tmp}"; fi
}

# models are made by processes beside each other.
models() {
  for shape in "${shapes[@]}"; do
    for type in q4_0 q8_0 bf16; do
      model "$shape" "$type" &
    done
  done
}

model() {
  local name=$1-$2 began=$SECONDS
  if timeout "$budget" nice ./random "$work/$name.gguf" "$1" "$2" 2>"$work/$name.log"; then
    echo "$((SECONDS - began)) s" >"$work/$name.made"
  else
    mv "$work/$name.log" "$work/$name.failed"
  fi
}

# bench waits for a model and measures it.
bench() {
  local name=$1 file=$work/$1.gguf
  shift
  while [ ! -e "$work/$name.made" ]; do
    if [ -e "$work/$name.failed" ]; then
      echo "$name was not made: $(cat "$work/$name.failed")"
      return 1
    fi
    sleep 0.2
  done
  echo "$(du -k --apparent-size "$file" | cut -f 1) KiB, made in $(cat "$work/$name.made")"
  ./leo bench --device gpu --model "$file" "$@"
}
export -f bench

steps() { for _ in $(seq "$1"); do echo step; done; }

run() {
  cd "$(dirname "$0")"
  work=$(mktemp -d -p "$(place)")
  export work
  trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
  shapes=(1b 7b) prompts=512 tokens=64 runs=3 batch=1,8 tests=Compliance suite=150 text=20000
  if [ "${1:-}" = --small ]; then
    shapes=(tiny) prompts=8 tokens=2 runs=1 batch=1 tests='Compliance/(Elementwise|Embed)' suite=60 text=300 budget=3600 slow=10
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
      step "$shape $type" 60 bash -c "bench $shape-$type --prompt $prompts --sequences $batch -n $tokens --runs $runs"
    done
  done
  step "${shapes[-1]} q4_0 without matrix units" 60 env LEO_VULKAN_MASK=VK_KHR_cooperative_matrix \
    bash -c "bench ${shapes[-1]}-q4_0 --prompt $prompts --sequences 1 -n $tokens --runs 1"
  if [ "${1:-}" = --small ]; then
    step "Training step" 60 bash -c './train tiny bf16 32 32 gpu < <(echo step)'
  else
    step "Training steps of 110M, 4096 tokens" 60 bash -c './train 110M bf16 512 8 gpu < <(steps 3)'
    step "Training steps of 1.1B, 4096 tokens" 90 bash -c './train 1.1B bf16 512 4 gpu < <(steps 2)'
  fi
  printf '\nThe end, after %d s.\n' "$SECONDS"
  [ ${#missing[@]} = 0 ] || printf -- 'No result: %s\n' "${missing[@]}"
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
