#!/usr/bin/env bash
# Runs a command in a network namespace that has loopback, the address 10.99.0.1 and a default route that
# leads nowhere. Clients that never use 127.0.0.1 for media find an address there, and nothing leaves it.
set -euo pipefail

wanted=(--net)
[[ $(id -u) -eq 0 ]] || wanted+=(--map-root-user)
exec unshare "${wanted[@]}" bash -euo pipefail -c '
  ip link set lo up
  ip link add inside type veth peer name outside
  ip addr add 10.99.0.1/24 dev inside
  ip link set inside up
  ip link set outside up
  ip route add default via 10.99.0.2 dev inside
  exec "$@"' namespace "$@"
