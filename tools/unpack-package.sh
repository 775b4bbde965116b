#!/bin/bash
# Unpack Debian packages into a folder, without installing them: what would start a service.
# Usage: unpack-package.sh FOLDER PACKAGE[,ALTERNATIVE]...: of alternatives the first that apt knows.
set -euo pipefail
folder=$1
shift
mkdir -p "$folder"
as_root=
[ "$(id -u)" -eq 0 ] || as_root=$(command -v sudo) || true

# As root apt would rather fetch as a user of its own, who may not write here.
fetch() {
    local package
    for package in ${1//,/ }; do
        if output=$(cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root "$package" 2>&1); then
            return 0
        fi
    done
    return 1
}
for packages in "$@"; do
    if ! fetch "$packages"; then
        $as_root apt-get update -qq || true
        fetch "$packages" || {
            printf '%s\n' "$output" >&2
            echo "apt-get could not fetch $packages. To try again, repeat the command." >&2
            exit 1
        }
    fi
    dpkg-deb -x "$folder"/*.deb "$folder"
    rm "$folder"/*.deb
done
