#!/usr/bin/env bash
# Tests of everything that computes through Vulkan, on the driver that there is (Debian: libvulkan1, mesa-vulkan-drivers), and
# under Khronos' validation layer, if there is one (Debian: vulkan-validationlayers), its check of synchronization included: it
# must have nothing to say. Installs nothing; exits with 2 if there is no driver.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Without cgo, as Leo is built.
export LEO_VULKAN_TESTS=1 CGO_ENABLED=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/leo" ./cmd/leo
if ! devices=$("$work/leo" version --devices 2>&1 | grep '^gpu:'); then
  echo "Vulkan offers no device"
  exit 2
fi
echo "$devices"

layer=VK_LAYER_KHRONOS_validation
if VK_INSTANCE_LAYERS=$layer "$work/leo" version --devices >/dev/null 2>&1; then
  # The same setting, as layers until 1.3 and from 1.4 on read it.
  export VK_INSTANCE_LAYERS=$layer VK_LAYER_ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT VK_KHRONOS_VALIDATION_VALIDATE_SYNC=1
else
  echo "without $layer, which is not installed"
fi

# The layer writes to standard output, which go test shows with -v only.
try() {
  local rc=0
  go test -v -count=1 -timeout 30m "$@" >"$work/log" 2>&1 || rc=$?
  if [ $rc != 0 ] || grep -qE 'VUID-|SYNC-HAZARD|Validation (Error|Warning)' "$work/log"; then
    cat "$work/log"
    echo "device/vulkan/test.sh: a test failed, or the validation layer spoke"
    exit 1
  fi
  grep -E '^(ok|\?)' "$work/log"
}
try ./internal/vulkan ./device/vulkan
try -run GPU ./open ./serve ./train
