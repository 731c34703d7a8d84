#!/usr/bin/env bash
# Tests of everything that computes through Vulkan, on the driver that there is (Debian: libvulkan1, mesa-vulkan-drivers, and
# vulkan-validationlayers, whose layer must stay silent). Installs nothing; exits with 2 if there is no driver.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Without cgo, as Leo is built.
export LEO_VULKAN_TESTS=1 CGO_ENABLED=0
if ! devices=$(go run ./cmd/leo version --devices 2>&1 | grep '^gpu:'); then
  echo "Vulkan offers no device"
  exit 2
fi
echo "$devices"
go test -count=1 -timeout 30m ./internal/vulkan ./device/vulkan
go test -count=1 -timeout 30m -run GPU ./open ./serve ./train
