#!/usr/bin/env bash
# Installs Debian's PostgreSQL where it is absent. The tests start clusters of their own.
set -euo pipefail

if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then exit 0; fi
if command -v initdb >/dev/null && command -v postgres >/dev/null; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "The store's tests need PostgreSQL, and there is no apt-get here; install it yourself so that" >&2
  echo "\`initdb\` and \`postgres\` are in the path." >&2
  exit 1
fi
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "The store's tests need PostgreSQL. Neither root nor sudo; run this as root:" >&2
    echo "  apt-get install -y --no-install-recommends postgresql" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "Installing postgresql for the store's tests."
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
