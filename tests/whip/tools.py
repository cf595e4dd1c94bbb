"""Tools that others wrote, by WHIP and WHEP against the real server: aiortc both ways, FFmpeg publishes.

CONVOKE_BIN names the server; `make whip-test` sets it. Nothing leaves the machine.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import unittest
import urllib.request
from pathlib import Path
from urllib.parse import urljoin
from uuid import uuid4

import imageio_ffmpeg
from aiortc import (
    AudioStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)

PATIENCE = 40.0


def request(method, url, headers, body=None):
    asked = urllib.request.Request(url, method=method, headers=headers, data=body)
    with urllib.request.urlopen(asked, timeout=PATIENCE) as reply:
        return reply.status, reply.headers, reply.read().decode()


class Session:
    """One session of WHIP or WHEP."""

    def __init__(self, url, token):
        self.url, self.token = url, token
        # Without the bundle policy aiortc leaves a second kind on a transport that never starts.
        self.pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.frames = {"audio": 0, "video": 0}
        self.size = None
        self.tasks = []

        @self.pc.on("track")
        def on_track(track):
            self.tasks.append(asyncio.ensure_future(self.count(track)))

    async def count(self, track):
        while True:
            frame = await track.recv()
            self.frames[track.kind] += 1
            if track.kind == "video":
                self.size = (frame.width, frame.height)

    @property
    def bearer(self):
        return {"authorization": f"Bearer {self.token}"}

    async def begin(self):
        await self.pc.setLocalDescription(await self.pc.createOffer())
        headers = {"content-type": "application/sdp", **self.bearer}
        offer = self.pc.localDescription.sdp.encode()
        status, headers, answer = await asyncio.to_thread(
            request, "POST", self.url, headers, offer
        )
        assert status == 201, answer
        self.location = urljoin(self.url, headers["location"])
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return self

    async def end(self):
        status, _, _ = await asyncio.to_thread(request, "DELETE", self.location, self.bearer)
        await self.pc.close()
        for task in self.tasks:
            task.cancel()
        assert status == 200


async def wait_for(what, found):
    try:
        async with asyncio.timeout(PATIENCE):
            while not found():
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(f"{what}: not within {PATIENCE} s") from error


class Tools(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        arguments = ["serve", "--dev", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0"]
        cls.server = subprocess.Popen(
            [os.environ["CONVOKE_BIN"], *arguments, "--data-dir", cls.folder.name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in cls.server.stdout:
            if "convoke is ready" in line:
                break
        cls.url = json.loads((Path(cls.folder.name) / "dev.json").read_text())["url"]

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.wait()
        cls.server.stdout.close()
        cls.folder.cleanup()

    def token(self, identity):
        body = json.dumps({"displayName": identity, "identity": identity}).encode()
        headers = {"content-type": "application/json"}
        _, _, reply = request("POST", urljoin(self.url, "dev/token"), headers, body)
        return json.loads(reply)["token"]

    async def watch(self, group, query=""):
        session = Session(urljoin(self.url, f"whep/{group}{query}"), self.token("viewer"))
        session.pc.addTransceiver("audio", direction="recvonly")
        session.pc.addTransceiver("video", direction="recvonly")
        return await session.begin()

    async def test_aiortc_publishes_and_watches(self):
        group = uuid4()
        camera = Session(urljoin(self.url, f"whip/{group}"), self.token("camera"))
        camera.pc.addTransceiver(AudioStreamTrack(), direction="sendonly")
        camera.pc.addTransceiver(VideoStreamTrack(), direction="sendonly")
        await camera.begin()
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


if __name__ == "__main__":
    unittest.main()
