#!/bin/sh
# Makes the secrets that compose.yaml names, in deploy/secrets; one that is there stays as it is. The model's key is taken
# from ANTHROPIC_API_KEY, or asked for at a terminal.
#
# Compose shows a secret's file to a container with the owner and the mode that it has here. As root, each file is given
# to its container's user (mode 0600). An ordinary user cannot give files away: then the folder, which nobody else may
# enter, keeps them from others, and the files can be read by whoever is shown them.
set -eu
umask 077
cd "$(dirname "$0")"
folder=${1:-secrets}
server=10001 # the user of our images (Dockerfile)
service=999  # the user of the images of PostgreSQL and Redis

mkdir -p "$folder"
chmod 0700 "$folder"

# letters CLASS NUMBER: so many random characters
letters() { LC_ALL=C tr -dc "$1" </dev/urandom | head -c "$2"; }

# keep NAME USER: standard input becomes that secret, unless there is one already
keep() {
  if [ -s "$folder/$1" ]; then
    cat >/dev/null
  else
    cat >"$folder/.draft"
    mv "$folder/.draft" "$folder/$1"
  fi
  if [ "$(id -u)" = 0 ]; then
    chown "$2:$2" "$folder/$1"
    chmod 0600 "$folder/$1"
  else
    chmod 0644 "$folder/$1"
  fi
}

echo "av_$(letters a-z0-9 10)_$(letters A-Za-z0-9_- 43)" | keep admin_key "$server"
letters A-Za-z0-9 40 | keep database_password "$service"
echo "requirepass $(letters A-Za-z0-9 40)" | keep broker_conf "$service"
echo "postgresql://agentvine:$(cat "$folder/database_password")@database:5432/agentvine" | keep database_url "$server"
echo "redis://:$(cut -d ' ' -f 2 "$folder/broker_conf")@broker:6379/0" | keep redis_url "$server"

model=${ANTHROPIC_API_KEY:-}
if [ -z "$model" ] && [ ! -s "$folder/anthropic_api_key" ] && [ -t 0 ]; then
  printf 'The key of the model (sk-ant-…), not shown: ' >&2
  stty -echo
  trap 'stty echo' EXIT
  read -r model
  stty echo
  trap - EXIT
  echo >&2
fi
printf '%s\n' "$model" | keep anthropic_api_key "$server"

if [ -z "$(tr -d '[:space:]' <"$folder/anthropic_api_key")" ]; then
  rm "$folder/anthropic_api_key" # so that the next run asks again
  echo "prepare.sh: there is no key of the model yet; run it again with ANTHROPIC_API_KEY set" >&2
  exit 1
fi
echo "prepare.sh: the secrets are in $(cd "$folder" && pwd); the first admin key is in admin_key" >&2
