#!/usr/bin/env bash
# Runs a command in a network namespace that has loopback and nothing else, and where no UDP passes:
# a network with a strict firewall. Nothing leaves it. Needs root or user namespaces, and nftables (`make nftables`).
set -euo pipefail

wanted=(--net)
[[ $(id -u) -eq 0 ]] || wanted+=(--map-root-user)
# nft is in a directory that users do not have in their path.
exec unshare "${wanted[@]}" bash -euo pipefail -c '
  export PATH=$PATH:/usr/sbin
  ip link set lo up
  nft add table inet strict
  nft add chain inet strict input "{ type filter hook input priority 0; policy accept; }"
  nft add rule inet strict input meta l4proto udp counter drop
  export NO_UDP=1
  exec "$@"' no-udp "$@"
