#!/bin/sh
# Compiles the shaders to SPIR-V, with the versions of glslang that wrote the committed files: Debian 12's packages
# glslang-tools and spirv-tools for those here, Debian 13's for those in matrix, which Debian 12's do not know. They are
# looked for on the path, and in the folder LEO_GLSLANG. What no such compiler is there for stays as it is; status 2 says
# that nothing was compiled.
set -eu
cd "$(dirname "$0")"
compiled=0

# compile VERSION FILES… compiles the files if there is a compiler of that version.
compile() {
  version=$1
  shift
  for tools in "" "${LEO_GLSLANG:+$LEO_GLSLANG/}"; do
    command -v "${tools}glslangValidator" >/dev/null && command -v "${tools}spirv-val" >/dev/null || continue
    case $("${tools}glslangValidator" --version) in *"$version"*) ;; *) continue ;; esac
    for f in "$@"; do
      "${tools}glslangValidator" --quiet -V --target-env vulkan1.2 -o "${f%.comp}.spv" "$f"
      "${tools}spirv-val" --target-env vulkan1.2 "${f%.comp}.spv"
    done
    compiled=$((compiled + 1))
    return
  done
  echo "not compiled, as glslangValidator $version or spirv-val is missing: $*" >&2
}

compile 11:12.0.0 *.comp
compile 11:15.2.0 matrix/*.comp
[ $compiled -gt 0 ] || exit 2
