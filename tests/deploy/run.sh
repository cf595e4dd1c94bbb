#!/usr/bin/env bash
# What `make check-deploy` checks of deploy/. Takes the server's binary, the folder of a Python
# with requirements.txt, and promtool. Starts servers on loopback, one after the other; needs no network.
set -euo pipefail

binary=$1
python=$2/bin/python
promtool=$3
export PATH="$2/bin:$PATH"
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=$(mktemp -d)
server=

finish() {
  if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' INT TERM

yamllint --strict deploy tests/deploy
hadolint deploy/Dockerfile
check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
check-jsonschema --check-metaschema deploy/helm/convoke/values.schema.json

# systemd looks for what a unit starts, and for the unit's name.
mkdir "$folder/unit"
sed "s#/usr/local/bin/convoke#$binary#" deploy/systemd/convoke.service >"$folder/unit/convoke.service"
if command -v systemd-analyze >/dev/null; then
  said=$(systemd-analyze verify --man=no "$folder/unit/convoke.service" 2>&1 | grep -F convoke.service || true)
  if [[ -n $said ]]; then
    echo "$said" >&2
    exit 1
  fi
  # Thousandths of ten; docs/operating.md says the score.
  systemd-analyze security --offline=true --threshold=12 "$folder/unit/convoke.service" | tail -1
else
  echo "systemd-analyze is not here: the unit is not checked"
fi

"$python" tests/deploy/chart.py "$binary"

cp deploy/prometheus/alerts.yml tests/deploy/alerts.test.yml deploy/compose/prometheus.yml "$folder"
"$promtool" check config "$folder/prometheus.yml" >/dev/null
"$promtool" test rules "$folder/alerts.test.yml"

# With a webhook, whose metrics are there only then. Nothing happens, so nobody is told anything.
"$binary" token key --algorithm hs256 --out "$folder/hook.key" >/dev/null
printf '[[webhooks.targets]]\nname = "app"\nurl = "http://127.0.0.1:9/"\nsecret_file = "hook.key"\n' \
  >"$folder/convoke.toml"
"$binary" serve --dev --config "$folder/convoke.toml" --http 127.0.0.1:0 --media 127.0.0.1:0 --data-dir "$folder/data" >"$folder/log" 2>&1 &
server=$!
tries=200
until [[ -s $folder/data/dev.json ]]; do
  tries=$((tries - 1))
  if [[ $tries -eq 0 ]] || ! kill -0 "$server" 2>/dev/null; then
    cat "$folder/log" >&2
    exit 1
  fi
  sleep 0.1
done
"$python" - "$folder/data/dev.json" >"$folder/scrape" <<'PYTHON'
import json, sys, time, urllib.request
url = json.load(open(sys.argv[1]))["metricsUrl"]
for _ in range(100):
    page = urllib.request.urlopen(url, timeout=10).read().decode()
    if "convoke_webhook_backlog_events" in page:
        break
    time.sleep(0.1)
sys.stdout.write(page)
PYTHON
"$python" tests/deploy/metrics.py "$promtool" "$folder/scrape"
