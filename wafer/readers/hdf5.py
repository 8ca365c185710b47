"""Grey images in HDF5 files: one dataset (ny, nx), or a stack (frames, ny, nx), with its pixel size in attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from metrology_core.errors import ReaderError
from metrology_core.hdf5 import check_claim, open_read, stated_unit
from metrology_core.units import convert
from wafer.readers.metadata import Found
from wafer.readers.tiff import MAX_PIXELS, Decoded

MAGIC = b"\x89HDF\r\n\x1a\n"
_KINDS = ("u1", "u2", "u4", "f4", "f8")


def read_hdf5(path: Path, *, shown: str, page: int | None, dataset: str | None = None) -> Decoded:
    """Decode the named dataset, or the only one that can be an image; ``page`` chooses a frame of a stack.

    Pixel size: attribute ``pixel_size`` (one number, or x, y) with ``unit`` or ``units``, of the dataset or its group,
    or ``element_size_um`` (z, y, x in micrometres). Flag ``multi_page`` for a stack whose first frame was taken. Links
    to other files and virtual storage are refused, as in point clouds.
    """
    with open_read(path, shown=shown) as file:
        node = _sound(file, shown, dataset)
        check_claim(node, shown, f"dataset {node.name}")
        frames = node.shape[0] if node.ndim == 3 else 1
        number = 0 if page is None else page
        if not 0 <= number < frames:
            raise ReaderError(
                "the stack does not hold this frame", path=shown, place=f"dataset {node.name}",
                expected=f"0 to {frames - 1}", got=str(number), remedy="correct the page",
            )  # fmt: skip
        try:
            pixels = np.asarray(node[number] if node.ndim == 3 else node[()])
        except (OSError, RuntimeError, ValueError) as error:
            raise ReaderError(
                "the dataset cannot be read", path=shown, place=f"dataset {node.name}", got=str(error)[:200],
                remedy="the file is damaged; export it again",
            ) from error  # fmt: skip
        found = _pixel(node, shown)
        flags = ("multi_page",) if frames > 1 and page is None else ()
        return Decoded(pixels.astype(pixels.dtype.newbyteorder("=")), found, flags, {"hdf5.dataset": str(node.name)})


def frame_count(path: Path, *, shown: str, dataset: str | None = None) -> int:
    """Number of frames of the image dataset."""
    with open_read(path, shown=shown) as file:
        node = _sound(file, shown, dataset)
        return int(node.shape[0]) if node.ndim == 3 else 1


def _is_image(node: Any) -> bool:
    shape = getattr(node, "shape", None)
    return (
        shape is not None and len(shape) in (2, 3) and min(shape[-2:]) >= 16
        and node.dtype.newbyteorder("=").str[1:] in _KINDS
    )  # fmt: skip


def _sound(file: Any, shown: str, dataset: str | None) -> Any:
    """The dataset, refused where it takes its numbers from elsewhere or the file is damaged."""
    try:
        node = _find(file, shown, dataset)
    except (OSError, RuntimeError, ValueError) as error:
        raise ReaderError(
            f"is damaged: {str(error)[:120]}", path=shown, place="file", remedy="export the file again"
        ) from error
    if node.is_virtual or node.external or node.file != file:
        raise ReaderError(
            "takes its numbers from other files", path=shown, place=f"dataset {node.name}",
            remedy="copy the numbers into one file",
        )  # fmt: skip
    return node


def _find(file: Any, shown: str, dataset: str | None) -> Any:
    if dataset is not None:
        if dataset not in file or not _is_image(file[dataset]):
            raise ReaderError(
                "there is no such image in the file", path=shown, place=f"dataset {dataset}",
                expected="(ny, nx) or (frames, ny, nx), 8, 16 or 32 bit unsigned or float", remedy="correct the name",
            )  # fmt: skip
        return file[dataset]
    names: list[str] = []
    file.visititems(lambda name, node: names.append(name) if _is_image(node) else None)
    if len(names) != 1:
        raise ReaderError(
            "the file does not hold just one image", path=shown,
            expected="one dataset (ny, nx) or (frames, ny, nx), 8, 16 or 32 bit unsigned or float",
            got=", ".join(sorted(names)[:6]) or "none", remedy="name the dataset",
        )  # fmt: skip
    node = file[names[0]]
    ny, nx = node.shape[-2:]
    if ny * nx > MAX_PIXELS:
        raise ReaderError(
            "the header claims an image too large to read", path=shown, place=f"dataset {node.name}",
            expected=f"at most {MAX_PIXELS} pixels", got=f"{nx} x {ny}", remedy="cut the image into smaller ones",
        )  # fmt: skip
    return node


def _pixel(node: Any, shown: str) -> Found | None:
    unit = stated_unit(node, shown)
    for holder in (node, node.parent):
        if "pixel_size" in holder.attrs and unit is not None:
            values = np.atleast_1d(np.asarray(holder.attrs["pixel_size"], dtype=np.float64)).ravel()
            if values.size in (1, 2) and np.all(np.isfinite(values)) and np.all(values > 0.0):
                x, y = (convert(float(v), unit, "nm") for v in (values[0], values[-1]))
                return Found((x, y), f"{node.name} pixel_size")
        if "element_size_um" in holder.attrs:
            values = np.atleast_1d(np.asarray(holder.attrs["element_size_um"], dtype=np.float64)).ravel()
            if values.size >= 2 and np.all(np.isfinite(values)) and np.all(values[-2:] > 0.0):
                return Found((float(values[-1]) * 1e3, float(values[-2]) * 1e3), f"{node.name} element_size_um")
    return None
