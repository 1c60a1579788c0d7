#!/usr/bin/env bash
# Runs tests/deploy/in_containers.py, with a Docker engine that the test starts and ends by itself. Installs what that
# needs, if it is root on a Debian that reaches its packages.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?usage: docker_test.sh PYTHON}

say() { printf 'make docker-test: %s\n' "$*" >&2; }

[ "$(id -u)" = 0 ] || { say "it starts a Docker engine and needs root: sudo make docker-test"; exit 1; }

declare -A package=([dockerd]=docker.io [docker]=docker.io [docker-init]=docker.io [mmdebstrap]=mmdebstrap [ip]=iproute2 [unshare]=util-linux)
missing=()
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
if [ ${#missing[@]} -gt 0 ]; then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  say "installing ${missing[*]}"
  if ! { command -v apt-get >/dev/null && apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }; then
    say "these are missing and could not be installed: ${missing[*]}"
    say "on Debian or Ubuntu: apt-get install ${missing[*]}; elsewhere: a Docker engine (dockerd, docker), mmdebstrap, iproute2"
    exit 1
  fi
fi
exec "$python" -m pytest -n 0 -v tests/deploy/in_containers.py
