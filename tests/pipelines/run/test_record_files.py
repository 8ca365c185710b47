"""Records: deterministic bytes, damage is noticed; commits: once, whole, and never other bytes under the same name."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import IntegrityError, ParameterError
from pipelines import files
from pipelines.record import Record, decode_record, encode_record, read_record, write_record
from tests.pipelines.run.lot import REPOSITORY

MAKE = """
import sys; sys.path.insert(0, {root!r})
import numpy as np
from pipelines.record import Record, encode_record
rng = np.random.Generator(np.random.Philox(3))
arrays = {{"deviation/xyz": rng.normal(size=(30000, 3)), "deviation/feature": np.arange(30000, dtype=np.int16),
          "sem/image": rng.integers(0, 255, (64, 64)).astype(np.uint8), "empty": np.zeros((0, 3)),
          "mask": np.ones(5, bool), "scalar": np.float64(3.0), "strided": rng.normal(size=(10, 10))[::2, ::3],
          "big": np.arange(4, dtype=">f8")}}
document = {{"schema": "abbe/record/1", "task": {{"id": "x"}}, "n": np.int64(3), "f": np.float64(0.1),
            "u": "\\u00b5m \\u4e2d"}}
"""


def sample() -> Record:
    space: dict[str, object] = {}
    exec(MAKE.format(root=str(REPOSITORY)), space)
    return Record(space["document"], space["arrays"])  # type: ignore[arg-type]


def test_what_goes_in_comes_out() -> None:
    record = sample()
    again = decode_record(encode_record(record))
    assert again.document == {**record.document, "n": 3}
    assert sorted(again.arrays) == sorted(record.arrays)
    for name, array in record.arrays.items():
        stored = again.arrays[name]
        assert stored.shape == np.shape(array)
        np.testing.assert_array_equal(stored, np.asarray(array).astype(stored.dtype))


def test_bytes_are_the_same_in_another_process() -> None:
    code = MAKE + "import hashlib; print(hashlib.sha256(encode_record(Record(document, arrays))).hexdigest())"
    script = code.format(root=str(REPOSITORY))
    here = files.digest_bytes(encode_record(sample()))
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert there == here


def test_bytes_do_not_depend_on_who_looks_at_the_stack() -> None:
    """A sampling profiler (every Dask worker runs one) keeps objects alive for a moment and so delays their closing."""
    expected = encode_record(sample())
    me, stop = threading.get_ident(), threading.Event()

    def sampler() -> None:
        held: list[object] = []
        while not stop.is_set():
            held.append(sys._current_frames().get(me))
            if len(held) > 4:
                held.clear()
            stop.wait(1e-4)

    thread = threading.Thread(target=sampler, daemon=True)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        record = sample()
        different = sum(encode_record(record) != expected for _ in range(60))
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert different == 0


def test_the_order_of_arrays_does_not_matter() -> None:
    record = sample()
    reverse = Record(record.document, dict(reversed(record.arrays.items())))
    assert encode_record(reverse) == encode_record(record)


def test_a_flipped_bit_anywhere_in_the_data_is_noticed(tmp_path: Path) -> None:
    """By the checksum of a chunk or of the structure; what neither covers is found by the digest in the journal."""
    data = bytearray(encode_record(sample()))
    whole = decode_record(bytes(data))
    silent = 0
    for position in range(0, len(data), max(1, len(data) // 150)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        try:
            found = decode_record(bytes(damaged))
        except IntegrityError:
            continue
        same = found.document == whole.document and all(
            np.array_equal(found.arrays[name], whole.arrays[name]) for name in whole.arrays if whole.arrays[name].ndim
        )
        silent += not same
    assert silent == 0


@pytest.mark.parametrize("name", ["", "/abs", "a/../b", "a//b", "."])
def test_array_names_stay_in_their_group(name: str) -> None:
    with pytest.raises(ParameterError):
        encode_record(Record({"schema": "abbe/record/1"}, {name: np.zeros(3)}))


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([object()]), np.array([1j])])
def test_arrays_are_plain_numbers(array: np.ndarray) -> None:
    with pytest.raises(ParameterError):
        encode_record(Record({"schema": "abbe/record/1"}, {"a": array}))


def test_not_a_number_has_no_place_in_the_document() -> None:
    with pytest.raises(ParameterError):
        encode_record(Record({"schema": "abbe/record/1", "x": float("nan")}))


def test_a_record_of_another_schema_is_refused() -> None:
    with pytest.raises(IntegrityError):
        decode_record(encode_record(Record({"schema": "abbe/record/2"})))


# --- commit


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(files.TEMPORARY)]


def test_the_same_bytes_twice_are_fine_and_other_bytes_are_an_alarm(tmp_path: Path) -> None:
    final = tmp_path / "a.h5"
    assert files.commit(final, b"one") == "committed"
    assert files.commit(final, b"one") == "already"
    with pytest.raises(IntegrityError, match="two different results"):
        files.commit(final, b"two")
    assert final.read_bytes() == b"one"
    assert leftovers(tmp_path) == []


def test_a_record_is_committed_under_its_digest(tmp_path: Path) -> None:
    sha = write_record(tmp_path / "r.h5", sample())
    assert sha == files.digest_file(tmp_path / "r.h5")
    assert read_record(tmp_path / "r.h5").document["task"] == {"id": "x"}


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_without_hard_links_the_promise_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def no_links(source: object, target: object) -> None:
        raise OSError(number, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    final = tmp_path / "a.h5"
    assert files.commit(final, b"one") == "committed"
    assert files.commit(final, b"one") == "already"
    with pytest.raises(IntegrityError):
        files.commit(final, b"two")
    assert final.read_bytes() == b"one"
    assert leftovers(tmp_path) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        files.commit(tmp_path / "a.h5", b"one")
    assert list(tmp_path.iterdir()) == []


def test_many_committers_of_one_name_agree(tmp_path: Path) -> None:
    results: list[str] = []

    def work() -> None:
        results.append(files.commit(tmp_path / "a.h5", b"x" * 100_000))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["already"] * 7 + ["committed"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_what_does_not_shrink_is_stored_as_it_is_and_still_checked() -> None:
    """Noise is not packed, a ramp is; both carry the checksum of every chunk."""
    import h5py

    noise = np.random.Generator(np.random.Philox(4)).integers(0, 256, (256, 256)).astype(np.uint8)
    ramp = np.arange(256 * 256, dtype=np.int64).reshape(256, 256)
    data = encode_record(Record({"schema": "abbe/record/1"}, {"noise": noise, "ramp": ramp}))
    with h5py.File(io.BytesIO(data), "r") as file:
        assert {name: file["arrays"][name].compression for name in ("noise", "ramp")} == {"noise": None, "ramp": "gzip"}
        assert all(file["arrays"][name].fletcher32 for name in ("noise", "ramp"))
    place = data.index(noise.tobytes()[1000:1064])
    with pytest.raises(IntegrityError):
        decode_record(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
