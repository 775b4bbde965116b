#!/bin/bash
# Install the npm packages of a lock file into a folder. Usage: npm-ci.sh FOLDER SOURCE
# SOURCE holds package.json and package-lock.json. npm is quiet unless it fails; then all that it said is shown.
# An unreachable registry is given up after about half a minute (npm's own limits add up to minutes).
set -euo pipefail
folder=$1 source=$2
mkdir -p "$folder"
cp "$source/package.json" "$source/package-lock.json" "$folder/"
echo "  NPM   $source"
done_file=$folder/node_modules/.package-lock.json
if log=$(cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --fetch-timeout=30000 --fetch-retries=1 \
        --fetch-retry-mintimeout=2000 --fetch-retry-maxtimeout=2000 2>&1); then
    mkdir -p "$folder/node_modules"
    touch "$done_file"
    exit 0
fi
printf '%s\n' "$log"
cat >&2 <<END
The npm packages of $source could not be installed; npm's own words are above. The program builds and runs without
them: tests and benchmarks need them. The registry is $(npm config get registry 2>/dev/null || echo unknown)
(\`npm config set registry URL\` for another). To try again, repeat the command.
END
exit 1
