#!/bin/sh
# Compiles the shaders to SPIR-V, with what Debian's packages glslang-tools and spirv-tools bring. Ends with status 2 where
# they are missing, or are of another version than the one that wrote the committed files.
set -eu
cd "$(dirname "$0")"
version="11:12.0.0"
if ! command -v glslangValidator >/dev/null || ! command -v spirv-val >/dev/null; then
  echo "glslangValidator or spirv-val is missing (Debian: glslang-tools, spirv-tools)" >&2
  exit 2
fi
case $(glslangValidator --version) in
  *"$version"*) ;;
  *)
    echo "the shaders are compiled by glslang $version, this is another" >&2
    exit 2
    ;;
esac
for f in *.comp; do
  glslangValidator --quiet -V --target-env vulkan1.2 -o "${f%.comp}.spv" "$f"
  spirv-val --target-env vulkan1.2 "${f%.comp}.spv"
done
