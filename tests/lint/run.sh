#!/bin/sh
# Every check of `make lint`, then the proof that each of them can fail. All run, whatever fails.
set -u
cd "$(dirname "$0")/../.." || exit 1
python=${PYTHON:-/usr/bin/python3}
failed=0
check() {
    "$@" || { failed=1; echo "lint: $1 ${2:-} found something" >&2; }
}
check "$python" tests/lint/includes.py
check "$python" tests/lint/text.py
check tests/lint/format.sh
check tests/lint/tidy.sh
# Here the tools must be there: nothing may be skipped.
DENOISED_LINT=1 check "$python" -m pytest -q -p no:cacheprovider tests/lint
exit $failed
