#!/usr/bin/env python3
"""The code in every Markdown file of the repository is what it says it is.

Takes the server's binary. What is done with a block depends on the word behind its fence:

- toml       read by `convoke config check`, unless it has a [dependencies] table
- json       parsed, each line for itself if it does not parse as one
- bash, sh   parsed by bash; the bash blocks of a file in EXECUTED are run in order, against a real server
- ts         type-checked against the SDK, all of a file as one program; in UNTYPED parsed only
- js         parsed by Node
- rust       compiled by `cargo test`: only in pages that that knows
- text, none  nothing

Another word is a mistake. Nothing leaves the machine.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "clients/web"
EXECUTED = ["docs/quick-start.md", "docs/REST.md"]
# Fragments, with variables that only prose explains.
UNTYPED = ["clients/web/README.md"]
# By crates/convoke/src/lib.rs, and as part of an example by crates/convoke/tests/tidy.rs.
COMPILED = ["docs/embedding.md", "README.md"]
ADDRESS = "127.0.0.1:8080"

FENCE = re.compile(r"^(?P<indent> *)```(?P<word>[^\n]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$", re.M | re.S)


class Block:
    def __init__(self, path: str, line: int, word: str, code: str):
        self.path, self.line, self.word, self.code = path, line, word, code

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def blocks() -> list[Block]:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(listed, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = []
    for name in sorted(set(filter(None, names.split("\0")))):
        if not (ROOT / name).exists():
            continue
        text = (ROOT / name).read_text()
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            code = textwrap.dedent(match["code"])
            found.append(Block(name, line, match["word"].strip().split(" ")[0], code))
    return found


def run(command: list[str], **more) -> str | None:
    """What it said, if it failed."""
    more.setdefault("timeout", 100)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    return done.stdout if done.returncode else None


def configuration(block: Block, binary: str) -> str | None:
    if "[dependencies]" in block.code:
        return None
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        text = block.code
        # The files that it names are there, as `convoke token key` makes them.
        for key, name in re.findall(r'^(\w+_file) = "([^"]+)"', text, flags=re.M):
            if (folder / name).exists():
                continue
            algorithm = "eddsa" if key in ("public_key_file", "private_key_file") else "hs256"
            out = folder / name.removesuffix(".pub")
            subprocess.run(
                [binary, "token", "key", "--algorithm", algorithm, "--out", out],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        # What a page leaves out: keys, without which no server starts.
        if "[[tokens." not in text:
            subprocess.run(
                [binary, "token", "key", "--algorithm", "hs256", "--out", folder / "more.key"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            text += '\n[[tokens.keys]]\nkid = "more"\nalgorithm = "hs256"\nsecret_file = "more.key"\n'
        if "[[webhooks.targets]]" in text and "[[services.keys]]" not in text:
            text += '\n[[services.keys]]\nname = "more"\nalgorithm = "hs256"\nsecret_file = "more.key"\n'
            text += 'roles = ["admin"]\n'
        (folder / "convoke.toml").write_text(text)
        return run([binary, "config", "check", folder / "convoke.toml"])


def notation(block: Block) -> str | None:
    try:
        json.loads(block.code)
        return None
    except ValueError:
        pass
    try:
        for line in filter(str.strip, block.code.splitlines()):
            json.loads(line)
    except ValueError as error:
        return str(error)
    return None


def rust(block: Block) -> str | None:
    return None if block.path in COMPILED else "cargo test compiles no code of this page"


def typescript(all_blocks: list[Block]) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        settings = {
            "extends": str(WEB / "tsconfig.json"),
            "compilerOptions": {
                "types": [],
                "noUnusedLocals": False,
                "paths": {"@convoke/client": [str(WEB / "src/index.ts")]},
            },
            "include": ["*.ts"],
        }
        (folder / "tsconfig.json").write_text(json.dumps(settings))
        for path in sorted({block.path for block in all_blocks}):
            name = path.replace("/", "-").removesuffix(".md") + ".ts"
            mine = [block for block in all_blocks if block.path == path]
            if path in UNTYPED:
                for block in mine:
                    code = f"// @ts-nocheck\n{block.code}\nexport {{}};\n"
                    (folder / f"{block.line}-{name}").write_text(code)
                continue
            # Each line stands where it does in the page.
            program: list[str] = []
            for block in mine:
                program += [""] * (block.line - 1 - len(program)) + block.code.splitlines()
            (folder / name).write_text("\n".join(program) + "\n")
        return run([str(WEB / "node_modules/.bin/tsc"), "-p", str(folder)], cwd=folder)


def javascript(block: Block) -> str | None:
    return run(["node", "--check", "--input-type=module", "-"], input=block.code)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


# What stands for a terminal of its own.
SERVE = """\
%s >server.log 2>&1 &
SERVERS+=($!)
tries=400
until grep --quiet 'convoke::serve: ready' server.log; do
  kill -0 "${SERVERS[-1]}" && ((--tries)) || { cat server.log; exit 1; }
  sleep 0.05
done
"""
HEAD = """\
set -euEo pipefail
SERVERS=()
trap 'echo "failed: $BASH_COMMAND"' ERR
trap '((${#SERVERS[@]} == 0)) || kill -KILL "${SERVERS[@]}"' EXIT
"""


def execute(path: str, all_blocks: list[Block], binary: str) -> str | None:
    """The bash blocks of a page, as somebody would who types them; `convoke serve …` beside the others."""
    address = f"127.0.0.1:{free_port()}"
    script = HEAD
    for block in all_blocks:
        code = block.code.replace(ADDRESS, address)
        if code.startswith("convoke serve "):
            code = SERVE % code.strip()
        script += f": {block}\n{code}"
    environment = os.environ | {
        "PATH": f"{Path(binary).parent}:{os.environ['PATH']}",
        "CONVOKE__HTTP__LISTEN": address,
        "CONVOKE__HTTP__METRICS_LISTEN": "",
        "CONVOKE__MEDIA__PORT": "0",
    }
    with tempfile.TemporaryDirectory() as folder:
        said = run(["timeout", "60", "bash", "-c", script], cwd=folder, env=environment)
        return None if said is None else f"{path}: {said}"


def judge(block: Block, binary: str) -> str | None:
    if block.word == "toml":
        return configuration(block, binary)
    if block.word == "json":
        return notation(block)
    if block.word in ("bash", "sh"):
        return run(["bash", "-n"], input=block.code)
    if block.word == "js":
        return javascript(block)
    if block.word == "rust":
        return rust(block)
    if block.word in ("ts", "text", ""):
        return None
    return f"nobody knows what `{block.word}` is"


def main() -> int:
    binary = str(Path(sys.argv[1]).resolve())
    found = blocks()
    wrong = [f"{block}: {said}" for block in found if (said := judge(block, binary)) is not None]
    if (said := typescript([block for block in found if block.word == "ts"])) is not None:
        wrong.append(said)
    executed = 0
    for path in EXECUTED:
        mine = [block for block in found if block.path == path and block.word == "bash"]
        executed += len(mine)
        if not mine:
            wrong.append(f"{path}: nothing to run")
        elif (said := execute(path, mine, binary)) is not None:
            wrong.append(said)
    print("\n".join(wrong) or f"docs: {len(found)} blocks of code are right, {executed} of them were run")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
