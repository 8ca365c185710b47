"""The record: one immutable HDF5 file per measurement, a pure function of inputs, recipe, version and seed.

Layout (schema ``abbe/record/1``): dataset ``record`` holds the canonical JSON of the document as bytes; group
``arrays`` holds the arrays that a reviewer needs. Every chunk carries Fletcher-32: a flipped bit is an error instead of
a number. Chunks that shrink by it are gzip 4 + shuffle, readable everywhere; noise does not shrink (a picture from an
electron microscope by 3 %, for half of the time of its measurement), and is stored as it is. No times are stored, so
equal content has equal bytes.
"""

from __future__ import annotations

import io
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metrology_core.canonical import canonical_json
from metrology_core.errors import IntegrityError, ParameterError
from metrology_core.hdf5 import h5py_module
from metrology_core.measurement import Measurement
from metrology_core.provenance import digest_bytes

SCHEMA_ID = "abbe/record/1"
OUTCOMES = ("measured", "measured_with_flags", "unusable_data", "algorithm_failed", "crashed", "not_run")
_PLAIN = frozenset({str, int, float, bool, type(None)})
_CHUNK_BYTES = 1 << 19
_SMALL = 4096  # bytes: below that the description of a dataset is longer than what it could save
_PIECES, _PIECE = 4, 8192  # bytes of a large array that are compressed to see what it would save
_WORTH = 0.75  # of its size: what saves less is stored as it is


@dataclass(frozen=True)
class StepResult:
    """What a step returns for one part; the engine makes the record of it.

    ``measurements`` in the order of the recipe; ``features`` and ``views`` are JSON mappings (contract of the record),
    ``arrays`` the arrays that the views name; ``flags`` those of the part as a whole; ``acquisition`` facts found in
    the file (they do not override what the recipe states); ``readers`` maps input paths to the reader that read them.
    """

    measurements: Sequence[Measurement] = ()
    features: Sequence[Mapping[str, Any]] = ()
    views: Sequence[Mapping[str, Any]] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    datum_system: Mapping[str, Any] | None = None
    instrument: Mapping[str, Any] | None = None
    readers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A record in memory: the JSON document and its arrays."""

    document: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def plain(value: Any) -> Any:
    """JSON data with plain Python numbers in place of NumPy scalars; arrays become lists."""
    if type(value) in _PLAIN:  # nearly all of a document, and much sooner told than by asking for abstract types
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    return value


def encode_record(record: Record) -> bytes:
    """The bytes of a record file. Raises `ParameterError` for content that a record cannot hold."""
    h5py = h5py_module()

    text = canonical_json(plain(record.document))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110"), track_order=False) as file:
        file.attrs["format"] = np.bytes_(SCHEMA_ID)
        _write(file, "record", np.frombuffer(text, dtype=np.uint8))
        group = file.create_group("arrays")
        for name in sorted(record.arrays):
            _check_name(name)
            _write(group, name, _stored(name, record.arrays[name]))
    return buffer.getvalue()


def _check_name(name: str) -> None:
    if not name or name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
        raise ParameterError(f"array name {name!r} is not a relative path of names")


def _stored(name: str, array: np.ndarray) -> np.ndarray:
    data = np.ascontiguousarray(array)
    if data.dtype.kind not in "biuf":
        raise ParameterError(f"array {name!r} has type {data.dtype}", expected="booleans, integers or floats")
    if data.dtype.kind == "b":
        data = data.astype(np.uint8)
    return data.astype(data.dtype.newbyteorder("<"), copy=False).reshape(np.shape(array))


def _shrinks(data: np.ndarray) -> bool:
    """Whether gzip saves a quarter or more, by pieces spread over the array: a function of the content alone."""
    if data.nbytes < _SMALL:
        return False
    flat = data.reshape(-1)
    size = max(1, _PIECE // data.itemsize)
    starts = np.linspace(0, max(0, flat.size - size), _PIECES).astype(np.int64)
    pieces = [flat[int(k) : int(k) + size] for k in starts]
    sample = b"".join(piece.view(np.uint8).reshape(-1, data.itemsize).T.tobytes() for piece in pieces)
    return len(zlib.compress(sample, 1)) <= _WORTH * len(sample)


def _write(group: Any, name: str, data: np.ndarray) -> None:
    # The low-level calls of h5py: a record of a line image has 26 small datasets, and the high-level ones look up every
    # name three times.
    h5py = h5py_module()
    h5d, h5p, h5s, h5t = h5py.h5d, h5py.h5p, h5py.h5s, h5py.h5t
    made, links = h5p.create(h5p.DATASET_CREATE), h5p.create(h5p.LINK_CREATE)
    direct = h5p.create(h5p.DATASET_ACCESS)
    # No cache: chunks in one are written when the dataset object goes, and that waits for whoever holds a reference to
    # our stack: the profiler of a Dask worker does, now and then, and the same content came out in another order.
    direct.set_chunk_cache(0, 0, 0.0)
    made.set_obj_track_times(False)
    links.set_create_intermediate_group(True)
    if data.size and data.ndim:  # chunks, and so checksums, need at least one element along each axis
        row = data.itemsize * math.prod(data.shape[1:])
        made.set_chunk((max(1, min(data.shape[0], _CHUNK_BYTES // max(1, row))), *data.shape[1:]))
        if _shrinks(data):
            made.set_shuffle()
            made.set_deflate(4)
        made.set_fletcher32()
    kind, space = h5t.py_create(data.dtype, logical=True), h5s.create_simple(data.shape)
    node = h5d.create(group.id, name.encode("utf-8"), kind, space, made, links, direct)
    if data.size:
        node.write(h5s.ALL, h5s.ALL, data)


def decode_record(data: bytes) -> Record:
    """Read the bytes of a record; raises `IntegrityError` where they are damaged or of another schema."""

    h5py = h5py_module()

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            document = json.loads(file["record"][()].tobytes())
            arrays: dict[str, np.ndarray] = {}

            def visit(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset):
                    arrays[name] = item[()]

            file["arrays"].visititems(visit)
    except Exception as error:  # HDF5 reports damage in many types; all of them mean the same here
        raise IntegrityError(
            "the record is damaged", got=f"{type(error).__name__}", remedy="run 'abbe verify' on the run"
        ) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA_ID:
        raise IntegrityError("the record has another schema", expected=SCHEMA_ID)
    return Record(document, arrays)


def write_record(path: str | Path, record: Record) -> str:
    """Commit a record under its final name and return the SHA-256 of its bytes.

    Committing equal bytes again is fine; other bytes raise `IntegrityError` (see `pipelines.files.commit`).
    """
    from pipelines.files import commit

    data = encode_record(record)
    commit(Path(path), data)
    return digest_bytes(data)


def read_record(path: str | Path) -> Record:
    """Read a record file; raises `IntegrityError` for damage, `OSError` where it is not there."""
    return decode_record(Path(path).read_bytes())
