#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A C compiler that compiles nothing twice: the artifacts of the tests hold the same runtime and mostly the same kernels.
#
#   CC="compile_once.sh FOLDER COMPILER" make -C ARTIFACT
#
# FOLDER keeps objects by all they are made of: the command, the source, and the headers that kernels and runtime include. What
# else there is, model.c and the linking, belongs to one artifact, and goes to the compiler.
set -eu
folder=$1
shift
output='' source=''
for word; do
  output=$source source=$word
done
case "$* " in
*" -c -o $output $source ") ;;
*) exec "$@" ;;
esac
case $source in
kernels/*.c | runtime/*.c) ;;
*) exec "$@" ;;
esac

key=$({ echo "$@" && cat "$source" runtime/*.h kernels/*.h; } | sha256sum)
kept=$folder/${key%% *}.o
if [ ! -f "$kept" ]; then
  "$@"
  mkdir -p "$folder"
  cp "$output" "$kept.$$"
  mv "$kept.$$" "$kept"
  exit
fi
cp "$kept" "$output" # no link: make compares its time with the source's
