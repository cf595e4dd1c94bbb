"""What tests of tools share: the real server, and aiortc as a client of WHIP and WHEP.

CONVOKE_BIN names the server.
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


class Tone(AudioStreamTrack):
    """A rectangular one of 400 Hz: aiortc's own track is silent."""

    async def recv(self):
        frame = await super().recv()
        period = b"\x00\x10" * 10 + b"\x00\xf0" * 10
        frame.planes[0].update((period * frame.samples)[: frame.planes[0].buffer_size])
        return frame


class Picture(VideoStreamTrack):
    """One that gets brighter, and dark again: aiortc's own track is always the same."""

    shown = 0

    async def recv(self):
        frame = await super().recv()
        self.shown += 1
        frame.planes[0].update(bytes([self.shown * 8 % 256]) * frame.planes[0].buffer_size)
        return frame


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


class ServerCase(unittest.IsolatedAsyncioTestCase):
    media = "127.0.0.1"

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        arguments = ["serve", "--dev", "--http", "127.0.0.1:0", "--media", f"{cls.media}:0"]
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

    async def publish(self, group):
        session = Session(urljoin(self.url, f"whip/{group}"), self.token("camera"))
        session.pc.addTransceiver(Tone(), direction="sendonly")
        session.pc.addTransceiver(Picture(), direction="sendonly")
        return await session.begin()

    async def watch(self, group, query=""):
        session = Session(urljoin(self.url, f"whep/{group}{query}"), self.token("viewer"))
        session.pc.addTransceiver("audio", direction="recvonly")
        session.pc.addTransceiver("video", direction="recvonly")
        return await session.begin()
