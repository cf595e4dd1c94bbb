"""An app server written with the Python SDKs of Azure Communication Services, against the real server.

CONVOKE_BIN names the server; `make acs` sets it.
"""

import json
import os
import subprocess
import tempfile
import threading
import time
import unittest
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

from azure.communication.callautomation import (
    CallAutomationClient,
    CommunicationUserIdentifier,
    FileSource,
)
from azure.communication.identity import CommunicationIdentityClient
from azure.communication.rooms import ParticipantRole, RoomParticipant, RoomsClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

PATIENCE = 20.0


class Hook(BaseHTTPRequestHandler):
    """Where events of calls are sent."""

    events = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        Hook.events.extend(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def wait_for(what, found):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if (value := found()) is not None:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {PATIENCE} s")


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class Basic(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        folder = Path(cls.folder.name)
        arguments = ["serve", "--dev", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0"]
        cls.server = subprocess.Popen(
            [os.environ["CONVOKE_BIN"], *arguments, "--data-dir", str(folder)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in cls.server.stdout:
            if line.startswith("convoke is ready"):
                break
        told = json.loads((folder / "dev.json").read_text())
        cls.endpoint = told["url"].rstrip("/")
        cls.key = AzureKeyCredential(told["accessKey"])
        cls.hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        threading.Thread(target=cls.hook.serve_forever, daemon=True).start()
        cls.identities = CommunicationIdentityClient(cls.endpoint, cls.key)
        cls.rooms = RoomsClient(cls.endpoint, cls.key)
        cls.calls = CallAutomationClient(cls.endpoint, cls.key)

    @classmethod
    def tearDownClass(cls):
        cls.hook.shutdown()
        cls.hook.server_close()
        cls.server.terminate()
        cls.server.wait()
        cls.server.stdout.close()
        cls.folder.cleanup()

    def test_identities(self):
        user, token = self.identities.create_user_and_token(["voip"])
        self.assertTrue(user.raw_id.startswith("8:acs:"))
        self.assertGreater(moment(token.expires_on), datetime.now(timezone.utc))
        again = self.identities.get_token(user, ["voip"], token_expires_in=timedelta(hours=1))
        self.assertNotEqual(again.token, token.token)
        self.identities.revoke_tokens(user)
        self.identities.delete_user(user)
        with self.assertRaises(ResourceNotFoundError):
            self.identities.get_token(user, ["voip"])

    def test_rooms(self):
        user = self.identities.create_user()
        begin = datetime.now(timezone.utc).replace(microsecond=0)
        room = self.rooms.create_room(
            valid_from=begin,
            valid_until=begin + timedelta(days=2),
            participants=[
                RoomParticipant(communication_identifier=user, role=ParticipantRole.PRESENTER)
            ],
        )
        self.assertEqual(self.rooms.get_room(room.id).id, room.id)
        self.assertIn(room.id, [found.id for found in self.rooms.list_rooms()])
        consumer = RoomParticipant(communication_identifier=user, role=ParticipantRole.CONSUMER)
        self.rooms.add_or_update_participants(room_id=room.id, participants=[consumer])
        roles = [found.role for found in self.rooms.list_participants(room.id)]
        self.assertEqual(roles, [ParticipantRole.CONSUMER])
        self.rooms.remove_participants(room_id=room.id, participants=[user])
        self.assertEqual(list(self.rooms.list_participants(room.id)), [])
        later = begin + timedelta(days=3)
        changed = self.rooms.update_room(room_id=room.id, valid_from=begin, valid_until=later)
        self.assertEqual(moment(changed.valid_until), later)
        self.rooms.delete_room(room.id)
        with self.assertRaises(ResourceNotFoundError):
            self.rooms.get_room(room.id)

    def test_calls(self):
        user = self.identities.create_user()
        context = str(uuid4())
        callback = f"http://127.0.0.1:{self.hook.server_port}/events?secret=1"
        target = CommunicationUserIdentifier(user.raw_id)
        call = self.calls.create_call(target, callback, operation_context=context)
        self.assertTrue(call.call_connection_id)

        def failed():
            of_it = [e for e in Hook.events if e["data"].get("operationContext") == context]
            return next((e for e in of_it if e["type"].endswith("CreateCallFailed")), None)

        # Nobody has an agent connected who could ring.
        event = wait_for("CreateCallFailed", failed)
        self.assertEqual(event["data"]["resultInformation"]["code"], 480)
        with self.assertRaises(ResourceNotFoundError):
            self.calls.get_call_connection(str(uuid4())).get_call_properties()
        with self.assertRaises(HttpResponseError) as refused:
            connection = self.calls.get_call_connection(call.call_connection_id)
            connection.play_media(FileSource(url="https://example.com/a.wav"))
        self.assertIn(refused.exception.status_code, (404, 501))


if __name__ == "__main__":
    unittest.main(verbosity=2)
