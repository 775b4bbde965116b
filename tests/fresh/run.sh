#!/bin/bash
# `make run` and `make test` in fresh Debian systems, each from a clean clone of what is committed. Needs root.
#
#   make test-fresh                                       Debian 12 and 13, as root and as a user with sudo
#   make test-fresh RELEASES=trixie USERS=root            a part
#   make test-fresh KEEP=1                                the systems stay in build/fresh, to look at
#   make test-fresh MAKE_TEST="test PYTEST_ARGS=-x"       what is made after `make run`
#
# A system is what debootstrap makes (minbase, git, make, CA certificates; sudo for a user), in a folder, with
# namespaces of its own for mounts and processes. What debootstrap makes is kept in build/fresh/*.tar. apt's and npm's
# servers, proxies and certificates are those of this machine. Logs are in build/fresh; exit status 1 for any failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
releases=${RELEASES:-bookworm trixie} users=${USERS:-root user} keep=${KEEP:-} targets=${MAKE_TEST:-test}
deadline_s=7200
folder=$PWD/build/fresh
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
[ "$(id -u)" -eq 0 ] || { echo "test-fresh: root is needed, to make and enter the systems" >&2; exit 1; }
tools/install-packages.sh debootstrap curl git
mkdir -p "$folder"

# The machine's package server, if it is a Debian.
mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 == "bookworm" || $2 == "trixie" {print $1; exit}')
mirror=${mirror:-http://deb.debian.org/debian}

# make_system RELEASE ROOT: a fresh system with what this machine knows of servers.
make_system() {
    local release=$1 root=$2 file
    if [ ! -s "$folder/$release.tar" ]; then
        rm -rf "$folder/$release"
        debootstrap --variant=minbase --include=git,make,ca-certificates "$release" "$folder/$release" "$mirror" \
            > "$folder/$release-debootstrap.log"
        tar -C "$folder/$release" -cf "$folder/$release.tar.new" .
        mv "$folder/$release.tar.new" "$folder/$release.tar"
        rm -rf "$folder/$release"
    fi
    rm -rf "$root"
    mkdir -p "$root"
    tar -C "$root" -xf "$folder/$release.tar"
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    for file in /etc/apt/apt.conf.d/*; do
        ! grep -qiE 'proxy|verify|cainfo|check-' "$file" || cp "$file" "$root/etc/apt/apt.conf.d/"
    done
    # Files are not forced to the disk: a system that is thrown away need not survive a power cut.
    echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    mkdir -p "$root/usr/local/share/ca-certificates"
    cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
    cat /etc/npmrc ~/.npmrc 2>/dev/null | grep -vE '^ *(cafile|nodedir|prefix) *=' > "$root/etc/npmrc" || true
    echo "cafile=/etc/ssl/certs/ca-certificates.crt" >> "$root/etc/npmrc"
    enter "$root" update-ca-certificates > /dev/null 2>&1
}

# enter ROOT COMMAND...: run it in the system, as root. No chroot: from within one the kernel makes no user namespace,
# which systemd wants for the units under test.
enter() {
    local settings=() name
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY npm_config_registry; do
        [ -z "${!name:-}" ] || settings+=("$name=${!name}")
    done
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child bash -c '
        root=$1; shift
        mount --make-rprivate /
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount --rbind /sys "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/run"
        mount -t tmpfs tmpfs "$root/tmp"
        mkdir -p "$root/run/lock"
        cd "$root" && pivot_root . . && umount -l . && cd / && exec "$@"' enter "$1" env -i PATH="$path" LANG=C.UTF-8 TERM=dumb \
        npm_config_globalconfig=/etc/npmrc NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
        "${settings[@]}" "${@:2}"
}

# as_user ROOT USER COMMAND: a line of shell in the clone.
as_user() {
    if [ "$2" = root ]; then
        enter "$1" env HOME=/root bash -c "cd && cd denoised && $3"
    else
        enter "$1" setpriv --reuid "$2" --regid "$2" --init-groups env HOME="/home/$2" USER="$2" \
            bash -c "cd && cd denoised && $3"
    fi
}

# try_run ROOT USER LOG: `make run` until it has served a PNG.
try_run() {
    local url='' pid rc=1
    as_user "$1" "$2" 'exec make run ARGS="--listen 127.0.0.1:0"' > "$3" 2>&1 &
    pid=$!
    for ((i = 0; i < deadline_s; i++)); do
        url=$(sed -n 's/^denoised: listening on //p' "$3")
        [ -z "$url" ] && kill -0 $pid 2>/dev/null || break
        sleep 1
    done
    if [ -n "$url" ] && curl -sf "$url/v1/samples/7.png?seed=42" | head -c 8 | cmp -s - <(printf '\x89PNG\r\n\x1a\n') &&
        curl -sf -o /dev/null "$url/docs"; then
        rc=0
    fi
    pkill -KILL -P $pid || true # unshare heeds nothing softer; all that runs in its namespace ends with it
    wait $pid 2>/dev/null || true
    return $rc
}

failed=0
for release in $releases; do
    for user in $users; do
        root=$folder/$release-$user log=$folder/$release-$user
        began=$SECONDS
        make_system "$release" "$root"
        home=$root/root
        if [ "$user" != root ]; then
            enter "$root" bash -c "apt-get update -qq && apt-get install -qq --no-install-recommends sudo &&
                useradd -m '$user' && echo '$user ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/$user" > "$log-sudo.log" 2>&1
            home=$root/home/$user
        fi
        git clone -q --no-local . "$home/denoised"
        enter "$root" chown -R "$user:" "${home#"$root"}/denoised"
        result=ok
        try_run "$root" "$user" "$log-run.log" || result="make run failed"
        ran=$((SECONDS - began))
        if [ "$result" = ok ]; then
            as_user "$root" "$user" "make $targets" > "$log-test.log" 2>&1 || result="make $targets failed"
        fi
        [ "$result" = ok ] || failed=1
        counts=$(grep -hE '^(=+ )?[0-9]+ (passed|failed)' "$log-test.log" 2>/dev/null | paste -sd ';' || true)
        echo "$release, $user: $result; make run $ran s, all $((SECONDS - began)) s; ${counts:-no test ran}"
        [ -n "$keep" ] || rm -rf "$root"
    done
done
exit $failed
