#!/usr/bin/env bash
# Prints the path of promtool: that of the path, else one out of Debian's package prometheus, which is
# unpacked into the folder given and not installed, since installing it would start a server.
set -euo pipefail

folder=$1
if command -v promtool; then exit 0; fi
if [[ ! -x $folder/usr/bin/promtool ]]; then
  if ! command -v apt-get >/dev/null; then
    echo "check-deploy needs promtool, and there is no apt-get here; put promtool into the path." >&2
    exit 1
  fi
  mkdir -p "$folder"
  cd "$folder"
  if ! apt-get download -qq prometheus >&2 2>/dev/null; then
    as_root=()
    if [[ $(id -u) -ne 0 ]]; then as_root=(sudo); fi
    "${as_root[@]}" apt-get update -qq >&2
    apt-get download -qq prometheus >&2
  fi
  dpkg-deb -x prometheus_*.deb .
fi
echo "$folder/usr/bin/promtool"
