#!/usr/bin/env bash
# Installs Debian's Chromium, Firefox and a font where they are absent.
set -euo pipefail

packages=()
[[ -x ${CHROMIUM:-/usr/bin/chromium} ]] || packages+=(chromium)
[[ -x ${FIREFOX:-/usr/bin/firefox-esr} ]] || packages+=(firefox-esr)
compgen -G '/usr/share/fonts/truetype/dejavu/*.ttf' >/dev/null || packages+=(fonts-dejavu-core)
if [[ ${#packages[@]} -eq 0 ]]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "The browser tests need: ${packages[*]}. There is no apt-get here; install" >&2
  echo "Chromium, Firefox and the DejaVu fonts yourself, and set CHROMIUM and FIREFOX to their paths." >&2
  exit 1
fi
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "The browser tests need: ${packages[*]}. Neither root nor sudo; run this as root:" >&2
    echo "  apt-get install -y --no-install-recommends ${packages[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "Installing ${packages[*]} for the browser tests."
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
