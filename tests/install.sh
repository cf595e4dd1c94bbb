#!/usr/bin/env bash
# Installs Debian's packages where what is needed of them is absent. No service is started.
#   tests/install.sh 'the tests of paths' turnserver=coturn '/*bin/ip=iproute2' ...
# Each is FILE=PACKAGE; a FILE is a command, or a path with patterns; several are parted by |, and one
# of them is enough.
set -euo pipefail

is_there() {
  local files file
  IFS='|' read -ra files <<<"$1"
  for file in "${files[@]}"; do
    if [[ $file == /* ]]; then compgen -G "$file"; else command -v "$file"; fi >/dev/null && return
  done
  return 1
}

purpose=$1
packages=()
for need in "${@:2}"; do
  is_there "${need%=*}" || packages+=("${need##*=}")
done
if [[ ${#packages[@]} -eq 0 ]]; then exit 0; fi

as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo)
for command in apt-get "${as_root[@]}"; do
  command -v "$command" >/dev/null && continue
  echo "For $purpose this is needed: ${packages[*]} (names of Debian). There is no $command here; install" >&2
  echo "it yourself." >&2
  exit 1
done
echo "Installing ${packages[*]} for $purpose."
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
