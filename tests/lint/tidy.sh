#!/bin/sh
# Static analysis by clang-tidy with the checks of .clang-tidy. Usage: tidy.sh [ROOT]
# Wants build/gen/openapi_json.h where there is a server, as `make lint` provides it.
set -eu
cd "${1:-.}"
# Only rooms that are there: a copy of a part of the tree is checked all the same.
rooms=
for room in api core server; do
    [ ! -d "$room" ] || rooms="$rooms $room"
done
# shellcheck disable=SC2086
list=$([ -z "$rooms" ] || find $rooms -name '*.c' -type f | LC_ALL=C sort)
count=$(printf '%s\n' "$list" | grep -c . || true)
if [ "$count" -eq 0 ]; then
    echo "tidy: no C file to look at" >&2
    exit 1
fi
: "${TIDY_NOISE:=$(mktemp -u)}"
export TIDY_NOISE
flags="-std=c17 -D_GNU_SOURCE -I. -Ibuild/gen -DVECTOR_ISA=baseline"
flags="$flags -DDENOISED_VERSION=\"0\" -DDENOISED_REVISION=\"0\" -DDENOISED_DATADIR=\"/\""
flags="$flags $(pkg-config --cflags libmicrohttpd libcjson libpng openblas libuv nettle)"
# clang-tidy counts the warnings it hid in system headers on standard error; real ones go to output.
# shellcheck disable=SC2086
printf '%s\n' "$list" |
    xargs -P "$(nproc)" -I FILE sh -c '
        file=$1; shift
        clang-tidy --quiet "$file" -- "$@" 2>"$TIDY_NOISE.$$" && rm "$TIDY_NOISE.$$" && exit
        cat "$TIDY_NOISE.$$"; rm "$TIDY_NOISE.$$"; exit 1' tidy FILE $flags
echo "tidy: $count files"
