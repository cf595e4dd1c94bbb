#!/usr/bin/env bash
# Runs a command in a network namespace of its own, where the server is at 10.98.0.1, beside another one,
# `client`, that has two paths to there: by w1 (10.98.1.2), which is preferred, and by w2 (10.98.2.2).
# Nothing leaves the two of them.
set -euo pipefail

wanted=(--net --mount)
[[ $(id -u) -eq 0 ]] || wanted+=(--map-root-user)
exec unshare "${wanted[@]}" bash -euo pipefail -c '
  mkdir -p /run/netns
  mount -t tmpfs none /run/netns
  ip netns add client
  ip link set lo up
  ip addr add 10.98.0.1/32 dev lo
  ip -n client link set lo up
  for n in 1 2; do
    ip link add "p$n" type veth peer name "w$n" netns client
    ip addr add "10.98.$n.1/24" dev "p$n"
    ip link set "p$n" up
    ip -n client addr add "10.98.$n.2/24" dev "w$n"
    ip -n client link set "w$n" up
    ip -n client route add default via "10.98.$n.1" dev "w$n" metric "$n"
    # As on devices with two networks: what has the address of one goes by that one.
    ip -n client route add default via "10.98.$n.1" dev "w$n" table "10$n"
    ip -n client rule add from "10.98.$n.2" table "10$n"
  done
  exec "$@"' paths "$@"
