"""Bytes for pages and data scripts: safe JSON, packed arrays, PNG pictures, safe names, atomic files."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
# Controls, bidirectional overrides and lone surrogates: a part name must not re-order or hide text on a page.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}


def clean(text: object) -> str:
    """Text from a file or a record, made visible: controls, bidi overrides and surrogates become U+FFFD."""
    return _INVISIBLE.sub("\ufffd", str(text))


def safe_json(value: Any) -> str:
    """JSON for a script: sorted keys, ASCII only, and no ``<``, ``>`` or ``&`` that could end the script."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_names(tasks: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A file name stem for each (task id, part): readable, plain ASCII, short, distinct also where case does not count.

    The part's name with what no file system likes replaced; the task's digest follows where that is not enough.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for task_id, part in tasks:
        stem = _UNSAFE.sub("_", part).strip("._-")
        if len(stem) > 60 or stem.lower() in taken or not stem or stem.split(".")[0].lower() in _RESERVED:
            digest = hashlib.sha256(task_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
            stem = f"{stem[:60].strip('._-') or 'part'}-{digest}"
        taken.add(stem.lower())
        names[task_id] = stem
    return names


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """A typed array for the browser: bytes regrouped by significance, deflated, base64.

    Grouping byte planes (all first bytes, then all second bytes) lets deflate see the slow-changing exponents together.
    """
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    width = data.dtype.itemsize
    planes = data.view(np.uint8).reshape(-1, width).T if data.size else np.empty(0, np.uint8)
    body = zlib.compress(np.ascontiguousarray(planes).tobytes(), 4)
    return {"t": f"{data.dtype.kind}{width}", "n": int(data.size), "z": base64.b64encode(body).decode("ascii")}


def pack_json(value: Any) -> dict[str, Any]:
    """Any JSON value, deflated and base64: for large tables of text."""
    body = safe_json(value).encode("ascii")
    return {"t": "json", "n": len(body), "z": base64.b64encode(zlib.compress(body, 6)).decode("ascii")}


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """An 8-bit PNG (ISO/IEC 15948): grey (ny, nx), or indices into a (k, 3) palette."""
    height, width = pixels.shape
    colour_type = 0 if palette is None else 3
    rows = np.zeros((height, width + 1), np.uint8)  # the first byte of each row names its filter
    rows[:, 1:] = pixels
    if palette is None and width > 1:
        rows[:, 0] = 1  # "Sub": neighbouring grey values differ little
        rows[:, 2:] = pixels[:, 1:] - pixels[:, :-1]  # modulo 256, as the format wants
    out = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0))
    if palette is not None:
        out += _chunk(b"PLTE", np.ascontiguousarray(palette, np.uint8).tobytes())
    return out + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + _chunk(b"IEND", b"")


class Site:
    """Writes the files of a site; unchanged files are left alone, stale ones of ours are removed at the end."""

    _OURS: Mapping[str, str] = {"parts": ".html", "data": ".js", "img": ".png", "": ".html"}

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: set[Path] = set()

    def write(self, relative: str, content: str | bytes) -> Path:
        """Put a file in place in one step: a reader sees the old one or the new one, never half of one."""
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        body = content.encode("utf-8", "replace") if isinstance(content, str) else content
        self.written.add(path)
        try:
            if path.stat().st_size == len(body) and path.read_bytes() == body:
                return path
        except OSError:
            pass
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(body)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def finish(self) -> None:
        """Remove pages of an earlier report that this one did not write."""
        for folder, suffix in self._OURS.items():
            for path in sorted((self.root / folder).glob(f"*{suffix}")):
                if path not in self.written and path.is_file():
                    path.unlink()
