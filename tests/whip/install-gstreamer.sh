#!/usr/bin/env bash
# Installs Debian's GStreamer with webrtcbin and its bindings for Debian's Python where they are absent.
set -euo pipefail

declare -A packages=(
  [/usr/lib/python3/dist-packages/gi/overrides/Gst.py]=python3-gst-1.0
  ['/usr/lib/*/girepository-1.0/GstWebRTC-1.0.typelib']=gir1.2-gst-plugins-bad-1.0
  ['/usr/lib/*/gstreamer-1.0/libgstopus.so']=gstreamer1.0-plugins-base
  ['/usr/lib/*/gstreamer-1.0/libgstvpx.so']=gstreamer1.0-plugins-good
  ['/usr/lib/*/gstreamer-1.0/libgstwebrtc.so']=gstreamer1.0-plugins-bad
  ['/usr/lib/*/gstreamer-1.0/libgstnice.so']=gstreamer1.0-nice
  ['/usr/bin/openssl']=openssl
  ['/*bin/ip']=iproute2
)
absent=()
for file in "${!packages[@]}"; do
  compgen -G "$file" >/dev/null || absent+=("${packages[$file]}")
done
if [[ ${#absent[@]} -eq 0 ]]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "The tests of GStreamer need: ${absent[*]}. There is no apt-get here; install them yourself." >&2
  exit 1
fi
as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo)
echo "Installing ${absent[*]} for the tests of GStreamer."
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${absent[@]}" >/dev/null
