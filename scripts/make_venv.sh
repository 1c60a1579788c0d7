#!/usr/bin/env bash
# Makes the virtual environment $VENV with the project, editable, and the locked versions of everything it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=${VENV:-.venv}

say() { printf 'make .venv: %s\n' "$*" >&2; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  say "$("$python" --version) is too old; AgentVine needs Python 3.11 or newer (make PYTHON=/path/to/python3.11 …)"
  exit 1
}

# Debian ships python3 without ensurepip. As root its package is installed; without root, pip is taken from wherever
# this interpreter can find one.
make_environment() {
  if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv --clear "$venv"
  elif "$python" -m virtualenv --version >/dev/null 2>&1; then
    "$python" -m virtualenv --quiet --clear "$venv"
  elif "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear --without-pip "$venv"
    "$python" -m pip --python "$venv/bin/python" install --quiet pip
  elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing python3-venv, which this Debian python3 lacks"
    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    "$python" -m venv --clear "$venv"
  else
    say "this python3 cannot make environments; install it with: sudo apt-get install python3-venv"
    exit 1
  fi
}

[ -x "$venv/bin/pip" ] || make_environment
say "installing AgentVine and its tools into $venv (about 400 MB, once; most of it is the Claude Code CLI)"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.lock
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --editable .
say "ready: $("$venv/bin/python" --version) in $venv"
