"""Tools that never use 127.0.0.1 for media, against the real server: GStreamer's webrtcbin, both ways.

CONVOKE_BIN names the server; `make whip-test` sets it, and runs this by namespace.sh: nothing leaves the
namespace.
"""

import asyncio
import json
import os
import unittest
from pathlib import Path
from urllib.parse import urljoin
from uuid import uuid4

from common import ServerCase, wait_for

SCRIPT = Path(__file__).parent / "gstreamer.py"


class GStreamer:
    """gstreamer.py as a process."""

    def __init__(self):
        self.told = {"state": "new", "audio": 0, "video": 0, "size": None}

    @classmethod
    async def start(cls, does, url, token, *more):
        self = cls()
        self.process = await asyncio.create_subprocess_exec(
            *["/usr/bin/python3", SCRIPT, does, url, *more],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"TOKEN": token},
        )
        self.reader = asyncio.ensure_future(self.read())
        return self

    async def read(self):
        async for line in self.process.stdout:
            self.told = json.loads(line)

    async def end(self):
        self.process.stdin.close()
        async with asyncio.timeout(20):
            assert await self.process.wait() == 0
        await self.reader


class Others(ServerCase):
    media = "10.99.0.1"

    async def call(self, codec):
        """GStreamer and aiortc in one call: each publishes, and watches the other."""
        group = uuid4()
        whip, whep = (urljoin(self.url, f"{kind}/{group}") for kind in ("whip", "whep"))
        camera = await self.publish(group)
        film = await GStreamer.start("publish", whip, self.token("film"), "--codec", codec)
        viewer = await self.watch(group, "?participant=film")
        token = self.token("gst")
        other = await GStreamer.start("watch", f"{whep}?participant=camera", token)
        frames = viewer.frames
        await wait_for("GStreamer's media", lambda: frames["audio"] > 50 and frames["video"] > 30)
        self.assertEqual(viewer.size, (640, 360))
        await wait_for("aiortc's video", lambda: other.told["video"] > 30)
        await wait_for("aiortc's audio", lambda: other.told["audio"] > 50)
        self.assertEqual(other.told["size"], [640, 480])
        for one in (other, viewer, film, camera):
            await one.end()

    async def test_gstreamer_and_aiortc_see_each_other(self):
        await self.call("vp8")

    async def test_gstreamer_publishes_h264(self):
        await self.call("h264")

    async def test_gstreamer_s_own_certificate_is_of_no_use(self):
        url = urljoin(self.url, f"whip/{uuid4()}")
        film = await GStreamer.start("publish", url, self.token("film"), "--certificate", "rsa")
        await wait_for("DTLS to fail", lambda: film.told["state"] == "failed")
        await film.end()


if __name__ == "__main__":
    unittest.main()
