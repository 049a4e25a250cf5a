"""The fenced code blocks of the documentation, and how those that add to the sources are applied to a copy of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
LANGUAGES = ("python", "sh", "diff", "json", "text")
_FENCE = re.compile(r"^\s*(```+|~~~+)\s*(\S*)\s*$")
_FILE = re.compile(r"^(?:#|//) (\S+/\S+\.\w+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: the document, the line of its fence, its language, the heading above it, and its text."""

    document: Path
    line: int
    language: str
    heading: str
    text: str

    @property
    def where(self) -> str:
        """Such as ``README.md:25``."""
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str:
        """The file that the block's first line names; empty where it names none."""
        found = _FILE.match(self.text.split("\n", 1)[0])
        return found[1] if found else ""

    @property
    def body(self) -> str:
        """The text without the line that names the file."""
        return self.text.split("\n", 1)[1] if self.file else self.text


def blocks_of(document: Path) -> list[Block]:
    """All fenced blocks of a document, in order; a fence that is not closed is an error."""
    found: list[Block] = []
    heading, opened, lines, fence, language = "", 0, [], "", ""
    in_block = False
    for n, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        mark = _FENCE.match(line)
        if not in_block and mark:
            in_block, opened, fence, language, lines = True, n, mark[1], mark[2], []
        elif in_block and mark and mark[1] == fence and not mark[2]:
            in_block = False
            found.append(Block(document, opened, language, heading, "\n".join(lines) + "\n"))
        elif in_block:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    assert not in_block, f"{document}:{opened}: this fence is not closed"
    return found


def apply(block: Block, root: Path) -> None:
    """Apply a block to the sources under `root`: a diff changes its file; any other text is a new file, or the end of one that exists."""
    assert block.file, f"{block.where}: expected the file's name in the first line of the block"
    path = root / block.file
    if block.language == "diff":
        old = "".join(line[1:] + "\n" for line in block.body.splitlines() if line[:1] in " -")
        new = "".join(line[1:] + "\n" for line in block.body.splitlines() if line[:1] in " +")
        before = path.read_text(encoding="utf-8")
        assert before.count(old) == 1, f"{block.where}: expected this once in {block.file}, found it {before.count(old)} times:\n{old}"
        path.write_text(before.replace(old, new), encoding="utf-8")
    elif path.exists():
        path.write_text(path.read_text(encoding="utf-8") + "\n\n" + block.body, encoding="utf-8")
    else:
        path.write_text(block.body, encoding="utf-8")
