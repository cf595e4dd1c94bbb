#!/usr/bin/python3
"""GStreamer's webrtcbin as a client of WHIP or WHEP. Run by the system's Python, which has its bindings.

    gstreamer.py publish|watch URL [--codec vp8|h264] [--certificate rsa|ecdsa]
    gstreamer.py relay WHEP-URL WHIP-URL

The token is in TOKEN. Tells on standard output what it has, one JSON object a line. With relay it publishes what
it watches, decoded and encoded again; tokens are in WATCH_TOKEN and PUBLISH_TOKEN. Ends its sessions when
standard input is closed.
"""

import argparse
import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.request
from urllib.parse import urljoin

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

RTP = "application/x-rtp,media=video,clock-rate=90000,rtcp-fb-nack=true,rtcp-fb-nack-pli=true"
VIDEO = {
    "vp8": f"{RTP},encoding-name=VP8,payload=96",
    "h264": f"{RTP},encoding-name=H264,payload=102,packetization-mode=(string)1,profile-level-id=(string)42e01f",
}
ENCODE = {
    "vp8": "vp8enc deadline=1 keyframe-max-dist=40 target-bitrate=600000 ! rtpvp8pay picture-id-mode=15-bit",
    "h264": "openh264enc gop-size=40 bitrate=600000 ! video/x-h264,profile=constrained-baseline"
    " ! rtph264pay aggregate-mode=zero-latency config-interval=-1",
}
AUDIO = "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2"
PUBLISH = (
    "{picture} ! video/x-raw,width=640,height=360,framerate=20/1 ! queue ! {encode} ! {video} ! webrtc. "
    "{sound} ! audioconvert ! opusenc ! rtpopuspay ! {audio} ! webrtc. "
)
# What is published, and with relay where it has come out of the other pipeline.
SOURCES = {
    "publish": {
        "picture": "videotestsrc is-live=true pattern=ball",
        "sound": "audiotestsrc is-live=true freq=440 volume=0.3",
    },
    "relay": {
        "picture": "intervideosrc channel=relay ! videoconvert ! videoscale ! videorate",
        "sound": "interaudiosrc channel=relay ! audioresample",
    },
}
SINKS = {
    "video": "videoconvert ! intervideosink channel=relay sync=false",
    "audio": "audioconvert ! audioresample ! interaudiosink channel=relay sync=false",
}


def ecdsa_certificate():
    """A fresh certificate of P-256 with its key."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = f"{folder}/key", f"{folder}/certificate"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=convoke"],
            check=True,
            capture_output=True,
        )
        with open(certificate) as one, open(key) as other:
            return one.read(), other.read()


class Client:
    """One session of WHIP (`does` is publish) or WHEP (watch)."""

    def __init__(self, does, url, token, options, loop):
        self.does, self.url, self.token, self.loop = does, url, token, loop
        self.relays = options.does == "relay"
        self.location = None
        self.told = {"state": "new", "audio": 0, "video": 0, "size": None}
        self.certificate = ecdsa_certificate() if options.certificate == "ecdsa" else None
        description = "webrtcbin name=webrtc bundle-policy=max-bundle latency=100 "
        if does == "publish":
            codec, sources = options.codec, SOURCES[options.does]
            description += PUBLISH.format(encode=ENCODE[codec], video=VIDEO[codec], audio=AUDIO, **sources)
        # A lone element would come without a pipeline.
        self.pipeline = Gst.parse_launch(f"pipeline. ( {description} )")
        self.pipeline.connect("deep-element-added", self.on_element)
        self.webrtc = self.pipeline.get_by_name("webrtc")
        self.webrtc.connect("pad-added", self.on_pad)
        self.webrtc.connect("notify::connection-state", self.on_state)
        # UPnP would send multicast; GStreamer 1.22 crashes without references to both.
        self.ice = self.webrtc.get_property("ice-agent")
        self.nice = self.ice.get_property("agent")
        self.nice.set_property("upnp", False)
        # Without checks of consent (RFC 7675) the server takes who only watches for gone after media.timeout.
        self.nice.set_property("keepalive-conncheck", True)
        if does == "watch":
            # Taken before the thread that negotiates begins.
            receive = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            for caps in (AUDIO, VIDEO[options.codec]):
                self.webrtc.emit("add-transceiver", receive, Gst.Caps.from_string(caps))
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)

    def on_element(self, _pipeline, _bin, element):
        # GStreamer 1.22 makes a certificate of RSA, which the server does not take, and has no property
        # of webrtcbin for another.
        factory = element.get_factory()
        if self.certificate and factory and factory.get_name() == "dtlsdec":
            element.set_property("pem", "".join(self.certificate))

    def on_state(self, webrtc, _property):
        self.told["state"] = webrtc.get_property("connection-state").value_nick
        self.tell()

    def on_error(self, _bus, message):
        print(*message.parse_error(), file=sys.stderr)
        self.loop.quit()

    def on_pad(self, _webrtc, pad):
        if pad.direction != Gst.PadDirection.SRC:
            return
        kind = pad.get_current_caps().get_structure(0).get_string("media")
        decode = Gst.ElementFactory.make("decodebin")
        sink = Gst.parse_bin_from_description(SINKS[kind], True) if self.relays else self.counting(kind)
        decode.connect("pad-added", lambda _decode, made: made.link(sink.get_static_pad("sink")))
        for element in (decode, sink):
            self.pipeline.add(element)
            element.sync_state_with_parent()
        pad.link(decode.get_static_pad("sink"))

    def counting(self, kind):
        sink = Gst.ElementFactory.make("fakesink")
        sink.set_property("sync", False)
        sink.set_property("signal-handoffs", True)
        before = [None]

        def handoff(_sink, buffer, pad):
            there, data = buffer.map(Gst.MapFlags.READ)
            if not there:
                return
            # A frozen picture and silence are the same again.
            now = hash(bytes(data.data))
            buffer.unmap(data)
            self.told[kind] += now != before[0]
            before[0] = now
            caps = pad.get_current_caps().get_structure(0)
            if kind == "video":
                self.told["size"] = [caps.get_value("width"), caps.get_value("height")]
            if self.told[kind] % 10 == 0:
                self.tell()

        sink.connect("handoff", handoff)
        return sink

    def tell(self):
        if not self.relays:
            print(json.dumps(self.told), flush=True)

    def request(self, method, url, body=None):
        headers = {"authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["content-type"] = "application/sdp"
        asked = urllib.request.Request(url, method=method, headers=headers, data=body)
        with urllib.request.urlopen(asked, timeout=30) as reply:
            return reply.headers, reply.read().decode()

    def promised(self, signal, *given):
        """The promise, which owns what it promised."""
        promise = Gst.Promise.new()
        self.webrtc.emit(signal, *given, promise)
        promise.wait()
        return promise

    def negotiate(self):
        if self.does == "publish":
            # Behind sending pads they are sendrecv.
            for index in (0, 1):
                one = self.webrtc.emit("get-transceiver", index)
                one.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        promise = self.promised("create-offer", None)
        reply = promise.get_reply()
        self.promised("set-local-description", reply.get_value("offer"))
        sdp = self.webrtc.get_property("local-description").sdp.as_text()
        if self.certificate:
            # The offer was made with the certificate that was replaced.
            der = ssl.PEM_cert_to_DER_cert(self.certificate[0])
            digest = ":".join(re.findall("..", hashlib.sha256(der).hexdigest().upper()))
            sdp = re.sub(r"(a=fingerprint:sha-256) [0-9A-F:]+", rf"\1 {digest}", sdp)
        headers, answer = self.request("POST", self.url, sdp.encode())
        self.location = urljoin(self.url, headers["location"])
        _, parsed = GstSdp.SDPMessage.new_from_text(answer)
        kind = GstWebRTC.WebRTCSDPType.ANSWER
        described = GstWebRTC.WebRTCSessionDescription.new(kind, parsed)
        self.promised("set-remote-description", described)

    def begin(self):
        """Negotiates once caps are known."""
        if self.does == "publish":
            for pad in self.webrtc.sinkpads:
                while pad.get_current_caps() is None:
                    threading.Event().wait(0.02)
        self.negotiate()

    def end(self):
        if self.location:
            self.request("DELETE", self.location)
        self.pipeline.set_state(Gst.State.NULL)


def live(clients, loop):
    """Ends with standard input."""

    def work():
        try:
            for client in clients:
                client.begin()
            sys.stdin.read()
        finally:
            loop.quit()

    for client in clients:
        client.pipeline.set_state(Gst.State.PLAYING)
    threading.Thread(target=work, daemon=True).start()
    loop.run()
    for client in clients:
        client.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("does", choices=["publish", "watch", "relay"])
    parser.add_argument("url")
    parser.add_argument("whip", nargs="?")
    parser.add_argument("--codec", choices=list(VIDEO), default="vp8")
    parser.add_argument("--certificate", choices=["rsa", "ecdsa"], default="ecdsa")
    Gst.init(None)
    options = parser.parse_args()
    sessions = [(options.does, options.url, "TOKEN")]
    if options.does == "relay":
        sessions = [("watch", options.url, "WATCH_TOKEN"), ("publish", options.whip, "PUBLISH_TOKEN")]
    loop = GLib.MainLoop()
    live([Client(does, url, os.environ[token], options, loop) for does, url, token in sessions], loop)


if __name__ == "__main__":
    main()
