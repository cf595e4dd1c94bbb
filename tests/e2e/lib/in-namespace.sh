#!/bin/sh
# Chromium in the network namespace NETNS: what playwright starts in place of it.
exec nsenter --net="/run/netns/$NETNS" "$CHROMIUM" "$@"
