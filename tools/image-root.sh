#!/bin/sh
# Copy a program and what it needs to run, and nothing else, into a folder that becomes an image's root.
# Usage: image-root.sh PROGRAM FOLDER
# The libraries are the loader's own list. Of each one's package come its licence and, in
# /var/lib/dpkg/status.d, its version: there the scanners for vulnerabilities look where there is no dpkg.
set -eu
program=$1 root=$2
mkdir -p "$root/etc" "$root/var/lib/dpkg/status.d"
ldd "$program" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    cp -L --parents "$library" "$root"
    # By name alone, because dpkg may know it under /lib or /usr/lib; alternatives are links.
    package=$(dpkg -S "*/$(basename "$(readlink -f "$library")")" | head -n 1 | cut -d : -f 1)
    dpkg-query -s "$package" > "$root/var/lib/dpkg/status.d/$package"
    cp --parents "/usr/share/doc/$package/copyright" "$root"
done
cp --parents "$program" /etc/os-release /etc/debian_version "$root"
echo 'denoised:x:10001:10001:denoised:/:/usr/sbin/nologin' > "$root/etc/passwd"
echo 'denoised:x:10001:' > "$root/etc/group"
