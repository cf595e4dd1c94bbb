#!/bin/bash
# Installs the other servers that `convoke-loadtest compare` measures: Debian's janus, and mediasoup
# (the worker of Debian's experimental suite, unpacked into a folder of its own; its JavaScript from
# npm). Needs root, or sudo, for Debian's packages; the system's package sources stay as they are.
#
#   loadtest/peers/install.sh [janus|mediasoup]...      both when none is named
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sudo=$([ "$(id -u)" = 0 ] || echo sudo)

install_janus() {
  command -v janus >/dev/null || {
    # Debian starts a service when it installs one; this policy says no, and goes again.
    local policy=/usr/sbin/policy-rc.d ours=
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null; $sudo chmod +x "$policy"; ours=1; }
    $sudo apt-get update -q
    $sudo apt-get install -yq --no-install-recommends janus || { [ -z "$ours" ] || $sudo rm -f "$policy"; return 1; }
    [ -z "$ours" ] || $sudo rm -f "$policy"
  }
  command -v cc >/dev/null || $sudo apt-get install -yq --no-install-recommends gcc libc6-dev
  mkdir -p "$here/installed"
  cc -shared -fPIC -O2 -o "$here/installed/loopback.so" "$here/janus/loopback.c" -ldl
  echo "janus: $(janus --version 2>/dev/null | head -1)"
}

install_mediasoup() {
  command -v node >/dev/null || { echo "mediasoup: install Node 20 or newer first" >&2; return 1; }
  $sudo apt-get install -yq --no-install-recommends libsrtp2-1 libusrsctp2 libuv1
  local apt="$here/installed/apt"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian experimental main" > "$apt/sources.list"
  cat > "$apt/apt.conf" <<EOF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "root";
EOF
  export APT_CONFIG="$apt/apt.conf"
  apt-get update -q
  (cd "$apt" && apt-get download -q mediasoup-worker && dpkg-deb -x mediasoup-worker_*.deb "$here/installed/worker")
  unset APT_CONFIG
  (cd "$here/mediasoup" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  echo "mediasoup: $(find "$here/installed/worker" -type f -name 'mediasoup-worker' | head -1)"
}

for peer in "${@:-janus}" $([ $# -gt 0 ] || echo mediasoup); do
  "install_$peer"
done
