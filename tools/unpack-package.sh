#!/bin/sh
# Unpack a Debian package into a folder, without installing it: one that would start a service.
# Usage: unpack-package.sh FOLDER PACKAGE
set -eu
mkdir -p "$1"
cd "$1"
as_root=
[ "$(id -u)" -eq 0 ] || as_root=$(command -v sudo) || true
apt-get download -q=2 "$2" 2>/dev/null || {
    $as_root apt-get update -q=2
    apt-get download -q=2 "$2"
}
dpkg-deb -x "$2"_*.deb .
rm "$2"_*.deb
