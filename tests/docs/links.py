#!/usr/bin/env python3
"""Every relative link in every Markdown file of the repository leads to a file and a heading that are there."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")


def without_code(text: str) -> str:
    text = re.sub(r"^(```|~~~).*?^\1\s*$", "", text, flags=re.M | re.S)
    return re.sub(r"(`+).+?\1", "", text, flags=re.S)


def anchors(path: Path) -> set[str]:
    """As GitHub makes them."""
    seen: dict[str, int] = {}
    found = set()
    text = re.sub(r"^(```|~~~).*?^\1\s*$", "", path.read_text(), flags=re.M | re.S)
    for title in re.findall(r"^#{1,6}\s+(.+?)\s*#*\s*$", text, flags=re.M):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found


def main() -> int:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    files = subprocess.run(listed, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")
    wrong, count = [], 0
    for name in filter(None, files):
        path = Path(name)
        if not path.exists():
            continue
        for link in LINK.findall(without_code(path.read_text())):
            if re.match(r"[a-z][a-z0-9+.-]*:|//", link):
                continue
            count += 1
            target, _, anchor = unquote(link).partition("#")
            there = (path.parent / target) if target else path
            if not there.exists():
                wrong.append(f"{name}: {link}: not there")
            elif anchor and there.suffix == ".md" and anchor not in anchors(there):
                wrong.append(f"{name}: {link}: no such heading")
    print("\n".join(wrong) or f"links: {count} relative links in {len(files) - 1} Markdown files lead somewhere")
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main())
