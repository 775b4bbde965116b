#!/bin/sh
# Install the Debian packages named as arguments that are not installed yet.
set -eu

find_missing() {
    missing=
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
    [ -n "$missing" ]
}

# Run apt-get as root. It waits for dpkg's lock by itself and not for that of the package lists: that is done here.
run_apt() {
    told=
    until output=$($as_root env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -qq \
                       -o DPkg::Lock::Timeout=600 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 \
                       "$@" 2>&1); do
        case $output in
            *"Could not get lock"* | *"Unable to lock"*) ;;
            *)
                printf '%s\n' "$output" >&2
                return 1
                ;;
        esac
        [ -n "$told" ] || echo "Another program installs packages: waiting for it to end."
        told=1
        sleep 2
    done
}

find_missing "$@" || exit 0
as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=$(command -v sudo) || {
        echo "These Debian packages are needed:$missing" >&2
        echo "You are not root and there is no sudo: ask an administrator for \"apt-get install$missing\"." >&2
        exit 1
    }
fi
# Two processes of one parallel make, or two users, must not run apt at once. A lock needs no right to write.
exec 9<"$(command -v apt-get)"
flock 9
find_missing "$@" || exit 0
echo "Installing Debian packages (this can take minutes):$missing"
run_apt update || echo "The package lists could not be refreshed: trying with those that are there." >&2
# shellcheck disable=SC2086
run_apt install -y --no-install-recommends $missing || {
    echo "apt-get could not install:$missing" >&2
    echo "Its own words are above. To try again, repeat the command." >&2
    exit 1
}
