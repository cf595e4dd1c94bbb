#!/usr/bin/env bash
# Installs Debian's coturn, nftables and iproute2 where they are absent. Its service is not started.
set -euo pipefail

packages=()
command -v turnserver >/dev/null || packages+=(coturn)
command -v nft >/dev/null || packages+=(nftables)
command -v ip >/dev/null || packages+=(iproute2)
if [[ ${#packages[@]} -eq 0 ]]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "The tests of paths need: ${packages[*]}. There is no apt-get here; install them yourself." >&2
  exit 1
fi
as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo)
echo "Installing ${packages[*]} for the tests of paths."
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
