"""aiortc by WHIP and WHEP: watches one participant, and publishes it as another, decoded and encoded again.

    aiortc_relay.py WHEP-URL WHIP-URL

Tokens are in WATCH_TOKEN and PUBLISH_TOKEN. Ends its sessions when standard input is closed.
"""

import asyncio
import os
import sys

from common import Session, wait_for


class Watcher(Session):
    """Leaves what comes to who publishes it."""

    def __init__(self, url, token):
        super().__init__(url, token)
        self.came = {}

    async def count(self, track):
        self.came[track.kind] = track


async def main(whep, whip):
    watcher = Watcher(whep, os.environ["WATCH_TOKEN"])
    publisher = Session(whip, os.environ["PUBLISH_TOKEN"])
    for kind in ("audio", "video"):
        watcher.pc.addTransceiver(kind, direction="recvonly")
    await watcher.begin()
    await wait_for("tracks", lambda: len(watcher.came) == 2)
    for track in watcher.came.values():
        publisher.pc.addTransceiver(track, direction="sendonly")
    await publisher.begin()
    await asyncio.to_thread(sys.stdin.read)
    await publisher.end()
    await watcher.end()


asyncio.run(main(*sys.argv[1:]))
