#!/usr/bin/env bash
# run_tests.sh PYTHON [pytest's arguments …]: all tests, side by side; the few that failed are tried once more, alone.
#
# Most tests here wait for real processes. On a machine that somebody else keeps busy, one of thousands may run into a
# product's own deadline. A fault fails both times. What passes the second time is told at the end, and is a defect of
# the test or of the product all the same. STRICT=1 tries nothing again.
set -uo pipefail
python=$1
shift
most=5
cache=.pytest_cache/v/cache/lastfailed

# Hundreds of processes here begin with the same modules: they are compiled once, also where nothing else is kept.
unset PYTHONDONTWRITEBYTECODE
"$python" -m compileall -q -j 2 src

rm -f "$cache"
"$python" -m pytest "$@"
code=$?
if [ "$code" -ne 1 ] || [ -n "${STRICT:-}" ]; then exit "$code"; fi

failed=$("$python" -c 'import json, sys; print(*json.load(open(sys.argv[1])), sep="\n")' "$cache") || exit "$code"
number=$(printf '%s\n' "$failed" | wc -l)
if [ "$number" -gt "$most" ]; then
    echo "$number tests failed: more than $most are not tried again"
    exit "$code"
fi
printf '\n%s failed beside others; tried once more, alone:\n%s\n\n' "$number" "$failed"
"$python" -m pytest -n 0 --last-failed --last-failed-no-failures none || exit "$?"
printf '\nPASSED ALONE, FAILED BESIDE OTHERS (to be mended):\n%s\n' "$failed"
