"""Durable files: written whole or not at all, and never over an existing one by accident."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from metrology_core.errors import IntegrityError, UsageError
from metrology_core.provenance import digest_bytes, digest_file

TEMPORARY = ".tmp"
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


@contextlib.contextmanager
def writing(folder: Path, remedy: str) -> Iterator[None]:
    """Turn what the system says against writing in ``folder`` into a `UsageError` with a remedy."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write in {str(folder)!r}: {error.strerror or error}", remedy=remedy) from None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Windows has no such call; there the journal alone carries the guarantee."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_temporary(final: Path, data: bytes) -> Path:
    temporary = final.with_name(f".{final.name}.{os.getpid()}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary


def commit(final: Path, data: bytes) -> Literal["committed", "already"]:
    """Give ``data`` the name ``final``, once and for all.

    The bytes go to a temporary file in the same folder, are synced, and are then linked to the final name: the first
    commit wins, and a crash leaves either nothing or the whole file. A second commit of the same bytes is fine
    (``already``); of other bytes it raises `IntegrityError`, since equal tasks must give equal bytes.

    Where the file system has no hard links (some network and FAT file systems) the final name is created exclusively
    and empty, then replaced: still never over another commit, but a crash between the two steps leaves an empty file,
    which verification and resume treat as not measured.
    """
    temporary = _write_temporary(final, data)
    try:
        try:
            os.link(temporary, final)
        except FileExistsError:
            return _compare(final, data)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if _replace_exclusively(temporary, final) == "exists":
                return _compare(final, data)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    sync_folder(final.parent)
    return "committed"


def _replace_exclusively(temporary: Path, final: Path) -> Literal["replaced", "exists"]:
    try:
        os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        return "exists"
    os.replace(temporary, final)
    return "replaced"


def _compare(final: Path, data: bytes) -> Literal["already"]:
    if digest_file(final) == digest_bytes(data):
        return "already"
    raise IntegrityError(
        "one task gave two different results",
        expected=f"the bytes of {final.name} (SHA-256 {digest_file(final)[:16]}...)",
        got=f"SHA-256 {digest_bytes(data)[:16]}...",
        remedy="the measurement is not deterministic, or versions are mixed; do not use this run",
    )


def replace(final: Path, data: bytes) -> None:
    """Write or overwrite a file that is not evidence (a view, a cache), atomically."""
    temporary = _write_temporary(final, data)
    try:
        os.replace(temporary, final)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    sync_folder(final.parent)


def sweep(folder: Path) -> int:
    """Remove temporary files that a killed process left; only the holder of the run's lock may call this."""
    count = 0
    for path in folder.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)
        count += 1
    return count
