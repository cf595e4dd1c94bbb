"""Tools that others wrote, by WHIP and WHEP against the real server: aiortc, werift, libdatachannel and
webrtc-rs both ways, FFmpeg publishes.

CONVOKE_BIN and WHIP_WEBRTC_RS name the server and the program of webrtc-rs; `make whip-test` sets them, and runs
this by namespace.sh: nothing leaves the namespace.
"""

import asyncio
import os
import unittest
from pathlib import Path
from urllib.parse import urljoin
from uuid import uuid4

import imageio_ffmpeg

from common import ServerCase, wait_for

RELAY = Path(__file__).parent / "relay/relay.mjs"


class Tools(ServerCase):
    async def test_aiortc_publishes_and_watches(self):
        group = uuid4()
        camera = await self.publish(group)
        viewer = await self.watch(group)
        frames = viewer.frames
        await wait_for("media", lambda: frames["audio"] > 50 and frames["video"] > 30)
        self.assertEqual(viewer.size, (640, 480))
        await viewer.end()
        await camera.end()

    async def test_ffmpeg_publishes(self):
        group = uuid4()
        # It is there before the publisher is.
        viewer = await self.watch(group, "?participant=film")
        ffmpeg = await asyncio.create_subprocess_exec(
            imageio_ffmpeg.get_ffmpeg_exe(),
            *"-hide_banner -loglevel error -nostdin -re".split(),
            *"-f lavfi -i testsrc2=size=640x360:rate=20".split(),
            *"-f lavfi -i sine=frequency=440:sample_rate=48000".split(),
            *"-c:v libx264 -profile:v baseline -preset ultrafast -tune zerolatency".split(),
            *"-bf 0 -g 20 -pix_fmt yuv420p -b:v 600k -c:a libopus -ar 48000 -ac 2".split(),
            *["-f", "whip", "-authorization", self.token("film")],
            urljoin(self.url, f"whip/{group}"),
        )
        try:
            frames = viewer.frames
            await wait_for("media", lambda: frames["audio"] > 50 and frames["video"] > 30)
            self.assertEqual(viewer.size, (640, 360))
        finally:
            ffmpeg.terminate()
            await ffmpeg.wait()
        await viewer.end()

    async def relay(self, *command):
        """What aiortc publishes, after a peer has watched it and published it again."""
        group = uuid4()
        whip, whep = (urljoin(self.url, f"{kind}/{group}") for kind in ("whip", "whep"))
        camera = await self.publish(group)
        relay = await asyncio.create_subprocess_exec(
            *[*command, f"{whep}?participant=camera", whip],
            stdin=asyncio.subprocess.PIPE,
            env=os.environ | {"WATCH_TOKEN": self.token("eye"), "PUBLISH_TOKEN": self.token("relay")},
        )
        viewer = await self.watch(group, "?participant=relay")
        frames = viewer.frames
        await wait_for("media", lambda: frames["audio"] > 50 and frames["video"] > 30)
        self.assertEqual(viewer.size, (640, 480))
        relay.stdin.close()
        self.assertEqual(await relay.wait(), 0)
        await viewer.end()
        await camera.end()

    async def test_werift_watches_and_publishes(self):
        await self.relay("node", RELAY, "werift")

    async def test_libdatachannel_watches_and_publishes(self):
        await self.relay("node", RELAY, "node-datachannel")

    async def test_webrtc_rs_watches_and_publishes(self):
        await self.relay(os.environ["WHIP_WEBRTC_RS"])


if __name__ == "__main__":
    unittest.main()
