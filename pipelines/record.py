"""The record: one immutable HDF5 file per measurement, a pure function of inputs, recipe, version and seed.

Layout (schema ``abbe/record/1``): dataset ``record`` holds the canonical JSON of the document as bytes; group
``arrays`` holds the arrays that a reviewer needs. Chunks are gzip 4 + shuffle + Fletcher-32: readable everywhere, and a
flipped bit is an error instead of a number. No times are stored, so equal content has equal bytes.
"""

from __future__ import annotations

import io
import json
import math
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
_CHUNK_BYTES = 1 << 19


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


def _write(group: Any, name: str, data: np.ndarray) -> None:
    if data.size == 0 or data.ndim == 0:  # chunks, and so checksums, need at least one element along each axis
        group.create_dataset(name, data=data, track_times=False)
        group.file.flush()
        return
    row = data.itemsize * math.prod(data.shape[1:])
    rows = max(1, min(data.shape[0], _CHUNK_BYTES // max(1, row)))
    group.create_dataset(
        name,
        data=data,
        chunks=(rows, *data.shape[1:]),
        compression="gzip",
        compression_opts=4,
        shuffle=True,
        fletcher32=True,
        track_times=False,
    )
    # Without this, chunks are written when the dataset object goes, and that waits for whoever holds a reference to our
    # stack: the profiler of a Dask worker does, now and then, and the same content came out in another order of bytes.
    group.file.flush()


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
