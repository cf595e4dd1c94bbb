#!/bin/sh
# Asks a server of its own what /openapi.json says it answers: no failure of the server, no status,
# content type or body that is not documented. Takes the server's binary and the schemathesis to use.
set -eu

binary=$1
schemathesis=$2
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
server=

finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' INT TERM

"$binary" serve --dev --http 127.0.0.1:0 --media 127.0.0.1:0 --data-dir "$folder" >"$folder/log" 2>&1 &
server=$!
tries=200
until [ -s "$folder/dev.json" ]; do
  tries=$((tries - 1))
  if [ $tries -eq 0 ] || ! kill -0 "$server" 2>/dev/null; then
    cat "$folder/log" >&2
    exit 1
  fi
  sleep 0.1
done
told() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$folder/dev.json" "$1"
}

cd "$folder"
if ! "$schemathesis" --config-file "$here/schemathesis.toml" run "$(told url)openapi.json" \
  --header "Authorization: Bearer $(told accessKey)"; then
  grep -E 'WARN|ERROR' "$folder/log" | tail -20 >&2
  exit 1
fi
