#!/usr/bin/env python3
"""The Helm chart: linted and rendered by Helm's own engine in every way it is meant to be used, what comes
out held against Kubernetes' schemas, and started: the binary serves with the configuration and the
environment of the pod. Also what Docker Compose mounts is a configuration that is good.

Takes the server's binary.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import helm_python
import kubernetes_validate
import yaml

CHART = "deploy/helm/convoke"
# The oldest that the chart says it runs on, and the newest that is known here.
VERSIONS = ["1.30", "1.37"]
CASES = {
    "defaults": {},
    "node ports": {"network": {"mode": "nodePort"}, "media": {"port": 30400, "workers": 3, "tcpPort": 30500}},
    "everything": {
        "image": {"tag": "@sha256:" + "0" * 64},
        "media": {"advertise": ["203.0.113.7", "2001:db8::7"], "workers": 1, "stunServer": "stun.example.com:3478"},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a/b": "c"}},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
        "persistence": {"enabled": True, "storageClass": "fast"},
        "priorityClassName": "media", "nodeSelector": {"media": "yes"},
        "tolerations": [{"key": "media", "operator": "Exists"}], "podAnnotations": {"a": "b"},
        "imagePullSecrets": [{"name": "registry"}], "env": [{"name": "CONVOKE__LOG__LEVEL", "value": "warn"}],
    },
    "least": {"metrics": {"enabled": False}, "podDisruptionBudget": {"enabled": False}, "resources": None},
}
REFUSED = [
    {"network": {"mode": "bridge"}},
    {"network": {"mode": "nodePort"}},
    {"network": {"mode": "nodePort"}, "media": {"port": 30400, "tcpPort": 7882}},
    {"media": {"advertise": ["calls.example.com"]}},
    {"media": {"stunServer": "stun:stun.example.com:3478"}},
    {"media": {"stunServer": "stun.example.com"}},
    {"media": {"stunServer": "2001:db8::9:3478"}},
    {"media": {"workers": 0}},
    {"drainSeconds": "10m"},
    {"replicas": 2},
    {"config": ""},
]


def render(values) -> list[dict]:
    out = helm_python.Chart.load(CHART).render(values, name="calls")
    documents = [document for text in out.values() for document in yaml.safe_load_all(text) if document]
    return sorted(documents, key=lambda one: (one["kind"], one["metadata"]["name"]))


def one(documents, kind):
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def free_ports(count: int) -> int:
    """The first of so many UDP and TCP ports in a row that nobody has."""
    for first in range(31000, 32700, 10):
        held = []
        try:
            for port in range(first, first + count):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    held.append(socket.socket(socket.AF_INET, kind))
                    held[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for each in held:
                each.close()
    raise SystemExit("no free ports")


class Stun(threading.Thread):
    """Says to everyone that a NAT gives it an address of its own (RFC 8489 §14.2), and the port that it has."""

    COOKIE = 0x2112A442
    ADDRESS = 0xCB007107  # 203.0.113.7

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.name = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.asked = set()

    def run(self):
        while True:
            question, source = self.socket.recvfrom(1500)
            self.asked.add(source[1])
            mapped = struct.pack("!HHBBHI", 0x0020, 8, 0, 1, source[1] ^ self.COOKIE >> 16, self.ADDRESS ^ self.COOKIE)
            self.socket.sendto(struct.pack("!HH", 0x0101, len(mapped)) + question[4:20] + mapped, source)


def start(binary: str, mode: str) -> None:
    first = free_ports(5)
    stun = Stun()
    stun.start()
    media = {"port": first, "workers": 2, "tcpPort": first + 4, "stunServer": stun.name}
    values = {
        "network": {"mode": mode}, "media": media, "drainSeconds": 1,
        "http": {"port": first + 2}, "metrics": {"port": first + 3}, "persistence": {"enabled": True},
    }
    documents = render(values)
    pod = one(documents, "StatefulSet")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "convoke.toml")
        config.write_text(one(documents, "ConfigMap")["data"]["convoke.toml"])
        Path(folder, "keys").mkdir()
        key = ["token", "key", "--algorithm", "hs256", "--out", f"{folder}/keys/token.key"]
        subprocess.run([binary, *key], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CONVOKE")}
        for each in container["env"]:
            value = each.get("value", "127.0.0.1")
            value = value.replace("$(POD_IP)", "127.0.0.1").replace("$(HOST_IP)", "127.0.0.1")
            environment[each["name"]] = value.replace("/var/lib/convoke", f"{folder}/store")
        environment["CONVOKE__MEDIA__BIND"] = "127.0.0.1"
        tcp = environment["CONVOKE__MEDIA__TCP"].replace("0.0.0.0", "127.0.0.1")
        environment["CONVOKE__MEDIA__TCP"] = tcp
        args = [arg.replace("/etc/convoke", folder) for arg in container["args"]]
        server = subprocess.Popen([binary, *args], env=environment, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
        try:
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            for probe in ("livenessProbe", "readinessProbe"):
                get = container[probe]["httpGet"]
                ask(binary, server, f"http://127.0.0.1:{ports[get['port']]}{get['path']}")
            ask(binary, server, f"http://127.0.0.1:{ports['metrics']}/metrics")
            # Each worker asked, by its own socket, and was told.
            with urllib.request.urlopen(f"http://127.0.0.1:{ports['metrics']}/metrics", timeout=10) as page:
                assert "\nconvoke_stun_addresses 2\n" in page.read().decode()
            assert stun.asked == {first, first + 1}, stun.asked
            server.send_signal(signal.SIGTERM)
            log = server.communicate(timeout=15)[1]
            assert server.returncode == 0, log
            assert '"draining"' in log and '"patience":"1s"' in log, log
            assert f"127.0.0.1:{ports['media-1']}" in log, log
            assert tcp in log and tcp.endswith(f":{ports['media-tcp']}"), log
        finally:
            server.kill()


def ask(binary: str, server: subprocess.Popen, url: str) -> None:
    for _ in range(100):
        if server.poll() is not None:
            raise SystemExit(server.stderr.read())
        if subprocess.run([binary, "healthcheck", url], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def compose(binary: str) -> None:
    services = yaml.safe_load(Path("deploy/compose.yaml").read_text())["services"]
    with tempfile.TemporaryDirectory() as folder:
        text = Path("deploy/compose/convoke.toml").read_text()
        text = text.replace("/run/secrets", folder).replace("/var/lib/convoke", folder)
        Path(folder, "convoke.toml").write_text(text)
        key = ["token", "key", "--algorithm", "hs256", "--out", f"{folder}/token.key"]
        subprocess.run([binary, *key], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        address = {"CONVOKE__MEDIA__ADVERTISE": '["203.0.113.7"]'}
        environment = {**os.environ, **services["convoke"]["environment"], **address}
        subprocess.run([binary, "config", "check", f"{folder}/convoke.toml"], env=environment, check=True,
                       stdout=subprocess.DEVNULL)


def main() -> int:
    binary = sys.argv[1]
    messages = helm_python.lint(CHART)["messages"]
    messages = [message for message in messages if "icon is recommended" not in message["error"]]
    assert not messages, messages
    count = 0
    for case, values in CASES.items():
        documents = render(values)
        for document in documents:
            if document["kind"] == "ServiceMonitor":
                continue  # Of the Prometheus operator; its schema is not Kubernetes' own.
            count += 1
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    raise SystemExit(f"{case}: {document['kind']}: Kubernetes {version}: {error}")
        spec = one(documents, "StatefulSet")["spec"]["template"]["spec"]
        assert spec["terminationGracePeriodSeconds"] > 10800, case
    for values in REFUSED:
        try:
            render(values)
        except helm_python.HelmError:
            continue
        raise SystemExit(f"values.schema.json takes {json.dumps(values)}")
    for mode in ("hostNetwork", "nodePort"):
        start(binary, mode)
    compose(binary)
    print(f"chart: {len(CASES)} ways of use, {count} documents hold against Kubernetes {' and '.join(VERSIONS)}; "
          "the server starts with what comes out, and with what Compose mounts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
