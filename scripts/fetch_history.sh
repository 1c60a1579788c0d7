#!/usr/bin/env bash
# Puts the source distributions that tests/history judges fixes of into the folder $1: with pip, from the index that pip
# is configured with, and only if they have the digests that stand in before.txt and after.txt there. pip asks each for
# its name, so what builds them is there for that moment. Nothing is done if they are there.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1
pip=.venv/bin/pip
lists=tests/history
mark=$target/.fetched

mkdir -p "$target"
exec 9>"$target/.lock"
flock 9
wanted=$(cat $lists/before.txt $lists/after.txt | sha256sum)
[ "$(cat "$mark" 2>/dev/null)" = "$wanted" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf 'fetch_history: %s\n' "$*" >&2; }

say "fetching the source distributions of tests/history (2 MB, once)"
"$pip" install --quiet --disable-pip-version-check --target "$work/builds" --requirement $lists/builds.txt || {
  say "pip could not install what $lists/builds.txt names; can it reach its index?"
  exit 1
}
for list in before after; do
  PYTHONPATH=$work/builds "$pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
    --no-build-isolation --require-hashes --dest "$work/fetched" --requirement "$lists/$list.txt" || {
    say "pip could not fetch what $lists/$list.txt names, or it is not what it was"
    exit 1
  }
done
mv "$work"/fetched/* "$target"
printf '%s\n' "$wanted" >"$mark"
