#!/bin/sh
# Is every C file as clang-format would have it? Usage: format.sh [ROOT]
set -eu
cd "${1:-.}"
list=$(find . -path './build*' -prune -o -name '*.[ch]' -type f -print | LC_ALL=C sort)
count=$(printf '%s\n' "$list" | grep -c . || true)
if [ "$count" -eq 0 ]; then
    echo "format: no C file to look at" >&2
    exit 1
fi
printf '%s\n' "$list" | xargs clang-format --style=file --dry-run -Werror
echo "format: $count files"
