#!/bin/sh
# Install the Debian packages named as arguments that are not installed yet.
set -eu
missing=
for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
        missing="$missing $package"
done
[ -z "$missing" ] && exit 0
echo "Installing Debian packages:$missing"
as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=$(command -v sudo) || {
        echo "Not root and no sudo: please install them and try again." >&2
        exit 1
    }
fi
# Two processes of one parallel make must not run apt at once.
exec 9>"${TMPDIR:-/tmp}/denoised-apt.lock"
flock 9
$as_root apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing
