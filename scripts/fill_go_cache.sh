#!/usr/bin/env bash
# Compiles, into the folder $1, what of Go's standard library tests need: tests of Go repositories (tests/proof) run in
# boxes whose home is empty each time, and would otherwise compile it each time.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${VENV:-.venv}/bin/python
go=$("$python" -c 'import go, pathlib; print(pathlib.Path(go.__file__).parent / "bin" / "go")')
target=$(realpath -m "$1")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'fill_go_cache: compiling what tests need of Go (half a minute, once)\n' >&2
printf 'module example.org/empty\n\ngo 1.22\n' >"$work/go.mod"
printf 'package empty\n\nfunc One() int { return 1 }\n' >"$work/empty.go"
printf 'package empty\n\nimport (\n\t"errors"\n\t"fmt"\n\t"os"\n\t"strings"\n\t"testing"\n)\n\nfunc TestOne(t *testing.T) {\n\tif One() != 1 || os.Args == nil || strings.ToUpper(fmt.Sprint(errors.New("x"))) != "X" {\n\t\tt.Fatal()\n\t}\n}\n' >"$work/empty_test.go"

export HOME=$work GOCACHE=$work/cache GOTOOLCHAIN=local GOTELEMETRY=off GOPROXY=off CGO_ENABLED=0
cd "$work"
"$go" vet ./...
"$go" build ./...
"$go" test ./... >&2
"$go" test -cover ./... >&2
rm -rf "$target"
mkdir -p "$(dirname "$target")"
chmod -R a+rX "$work/cache"
mv "$work/cache" "$target"
