#!/usr/bin/env python3
"""Licences and sources of everything in our lock files that we build, held against deny.toml.

What `cargo deny check licenses sources` does, for machines without it: reads `cargo metadata`, builds
nothing. It believes the manifests; cargo-deny reads licence files too.
"""

import json
import re
import subprocess
import sys
import tomllib

# Workspaces: the server's, and that of a program in the tests.
MANIFESTS = ("Cargo.toml", "tests/whip/webrtc-rs/Cargo.toml")
TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")


def alternatives(expression: str):
    """An SPDX expression as a tree: ("or"|"and", parts) or a licence."""
    tokens = re.findall(r"\(|\)|[^\s()/]+|/", expression)
    at = 0

    def peek():
        return tokens[at] if at < len(tokens) else None

    def one():
        nonlocal at
        token = tokens[at]
        at += 1
        if token == "(":
            inner = either()
            at += 1
            return inner
        if peek() == "WITH":
            at += 2
            return f"{token} WITH {tokens[at - 1]}"
        return token

    def every():
        nonlocal at
        parts = [one()]
        while peek() == "AND":
            at += 1
            parts.append(one())
        return ("and", parts) if len(parts) > 1 else parts[0]

    def either():
        nonlocal at
        parts = [every()]
        while peek() in ("OR", "/"):
            at += 1
            parts.append(every())
        return ("or", parts) if len(parts) > 1 else parts[0]

    tree = either()
    if at != len(tokens):
        raise ValueError(f"cannot read {expression!r}")
    return tree


def holds(tree, allowed) -> bool:
    if isinstance(tree, str):
        # An exception only ever allows more than its licence.
        return tree in allowed or tree.split(" WITH ")[0] in allowed
    kind, parts = tree
    return (any if kind == "or" else all)(holds(part, allowed) for part in parts)


def self_test() -> None:
    check = [
        ("MIT", True), ("GPL-3.0-only", False), ("MIT OR GPL-3.0-only", True), ("MIT AND GPL-3.0-only", False),
        ("(MIT OR X) AND Zlib", True), ("(MIT OR X) AND Y", False), ("MIT/X", True),
        ("MIT WITH LLVM-exception", True), ("X OR Y AND MIT", False), ("X OR MIT AND Zlib", True),
    ]
    for text, expected in check:
        assert holds(alternatives(text), {"MIT", "Zlib"}) == expected, text


def packages_of(manifest: str) -> list:
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features", "--manifest-path", manifest]
    for target in TARGETS:
        command += ["--filter-platform", target]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]


def main() -> int:
    self_test()
    with open("deny.toml", "rb") as file:
        licences = tomllib.load(file)["licenses"]
    allowed = set(licences["allow"])
    extra = {one["crate"]: set(one["allow"]) for one in licences.get("exceptions", [])}
    packages = {package["id"]: package for manifest in MANIFESTS for package in packages_of(manifest)}
    wrong = []
    for package in packages.values():
        name, source = f"{package['name']} {package['version']}", package["source"]
        if source and source != "registry+https://github.com/rust-lang/crates.io-index":
            wrong.append(f"{name}: from {source}")
        licence = package["license"]
        if not licence:
            wrong.append(f"{name}: says no licence")
        elif not holds(alternatives(licence), allowed | extra.get(package["name"], set())):
            wrong.append(f"{name}: {licence}")
    print("\n".join(wrong) or f"licences: {len(packages)} packages, all allowed by deny.toml")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
