#!/bin/sh
# Unpack a Debian package into a folder, without installing it: one that would start a service.
# Usage: unpack-package.sh FOLDER PACKAGE [ALTERNATIVE...]: the first that apt knows.
set -eu
folder=$1
shift
mkdir -p "$folder"
as_root=
[ "$(id -u)" -eq 0 ] || as_root=$(command -v sudo) || true

# As root apt would rather fetch as a user of its own, who may not write here.
fetch() {
    for package in "$@"; do
        if output=$(cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root "$package" 2>&1); then
            return 0
        fi
    done
    return 1
}
if ! fetch "$@"; then
    $as_root apt-get update -qq
    fetch "$@" || {
        printf '%s\n' "$output" >&2
        echo "apt-get could not fetch any of: $*. To try again, repeat the command." >&2
        exit 1
    }
fi
dpkg-deb -x "$folder/$package"_*.deb "$folder"
rm "$folder/$package"_*.deb
