"""Where numbers came from: the digest of the bytes, and the name under which they were read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Source:
    """The file behind some data.

    ``path`` is relative to the data root (or a bare name), never absolute: records must be the same on any machine.
    """

    path: str
    sha256: str
    size: int
    reader: str

    def to_dict(self) -> dict[str, Any]:
        return {"path": self.path, "sha256": self.sha256, "size": self.size, "reader": self.reader}


def digest_bytes(*parts: bytes | memoryview) -> str:
    """SHA-256 of bytes, one part after the other, as hexadecimal text."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def digest_file(path: str | Path) -> str:
    """SHA-256 of a file, read in pieces; raises `OSError` as the system gives it."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
