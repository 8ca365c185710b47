"""What went wrong while an image was recorded or stored: rows and columns that hold no scan, copies of rows, bands,
grey values out of all proportion, grey levels too coarse for the noise, a pattern that is none of the sample's."""

from __future__ import annotations

import numpy as np

from metrology_core.errors import DataError

_SCANNED = (
    0.4  # share of neighbours of one grey level, usual row: above, the image has no noise and nothing can be told
)
_SAMPLED = 32  # pixels of a row that are compared before all of them are
_DEAD_SHARE = 0.25  # of the rows (columns): more are no defect of the recording, but half of an image
_COPIES = 2  # rows that are copies of others: noise makes none
BANDS = 0.1  # of the step, 1 s: by how much rows differ in brightness before it is flagged
_PATTERN = 0.05  # of the step: amplitude of a wave that is flagged ...
_STANDS_OUT = 25.0  # ... where its power is so many times that of its neighbourhood: noise reaches 15 in 16 000 places
_WINDOW = 128  # px, side of the area in which waves are looked for
_COARSE = 8.0  # grey levels to a step, below which they are few ...
_DITHER = 0.5  # ... unless noise of half a level and more makes means of them continuous
_PILE = 0.6  # of the pixels at the next level: noise of 1.4 levels and more leaves a third there
_ABSURD = 100.0  # times the range of the usual grey values (1 % to 99 %): a mark for no data, not a grey value


def refuse_absurd(pixels: np.ndarray) -> None:
    """`DataError` where floating point grey values lie out of all proportion: marks for pixels without data."""
    if pixels.dtype.kind != "f":
        return
    part = pixels[:: max(1, pixels.shape[0] // 128), :: max(1, pixels.shape[1] // 128)]
    low, middle, high = (float(v) for v in np.quantile(part, (0.01, 0.5, 0.99)))
    span = _ABSURD * (high - low)
    if not span > 0.0 or (float(pixels.max()) - middle <= span and middle - float(pixels.min()) <= span):
        return
    count = int(np.count_nonzero((pixels - middle > span) | (middle - pixels > span)))
    raise DataError(
        "the image holds grey values out of all proportion",
        expected=f"grey values about {low:.4g} to {high:.4g}, as 98 % of them are",
        got=f"{count} more than {_ABSURD:g} times that range away",
        remedy="these are marks for missing data: export the image without them, or choose rows and columns",
    )


def recording_flags(pixels: np.ndarray) -> set[str]:
    """``dead_rows``, ``dead_columns`` (one grey level all along), ``rows_repeated`` (exact copies of other rows).

    Raises `DataError` where a quarter of the rows or columns and more is dead. Nothing is said of an image without
    noise.
    """
    if min(pixels.shape) < 16:
        return set()
    if not noisy(pixels):
        return set()
    flags = set()
    copied = copies(pixels)
    if copied >= _COPIES:
        flags.add("rows_repeated")
    # where all rows are one, all columns are constant
    for name, lines in (("row", pixels), ("column", pixels.T))[: 1 if copied == len(pixels) - 1 else 2]:
        dead = _constant(lines)
        if dead.size > _DEAD_SHARE * lines.shape[0]:
            raise DataError(
                f"many {name}s of the image are dead", expected=f"scanned {name}s",
                got=f"{dead.size} of {lines.shape[0]} {name}s hold one grey level, the first of them {dead[0]}",
                remedy="export the image again, or choose rows and columns without them",
            )  # fmt: skip
        if dead.size:
            flags.add(f"dead_{name}s")
    return flags


def noisy(pixels: np.ndarray) -> bool:
    """Whether neighbours in the usual row that is not dead differ: without noise nothing can be told."""
    some = pixels[:: max(1, pixels.shape[0] // 64)]
    alike = np.mean(some[:, 1:] == some[:, :-1], axis=1)
    live = alike[alike < 1.0]
    return bool(live.size) and float(np.median(live)) <= _SCANNED


def _constant(lines: np.ndarray) -> np.ndarray:
    """Numbers of the lines that hold one grey level."""
    step = max(1, lines.shape[1] // _SAMPLED)
    few = np.flatnonzero((lines[:, ::step] == lines[:, :1]).all(axis=1))
    return few[[bool((lines[k] == lines[k, 0]).all()) for k in few]] if few.size else few


def copies(pixels: np.ndarray) -> int:
    """Number of rows that equal an earlier one, pixel by pixel; rows of one grey level do not count."""
    step = max(1, pixels.shape[1] // _SAMPLED)
    few = np.ascontiguousarray(pixels[:, ::step])
    seen: dict[bytes, list[int]] = {}
    count = 0
    for k, row in enumerate(few):
        key = row.tobytes()
        before = seen.get(key)
        if before is None:
            seen[key] = [k]
            continue
        if any(np.array_equal(pixels[j], pixels[k]) for j in before[:4]) and np.any(pixels[k] != pixels[k, 0]):
            count += 1
        else:
            before.append(k)
    return count


def banded(pixels: np.ndarray, ground: np.ndarray | None, step: float) -> bool:
    """Whether rows differ in brightness by more than a tenth of the ``step`` (1 s) about a smooth course.

    Means over every fourth column; ``ground`` (ny, nx) limits them to pixels of one class, away from features.
    """
    part = np.asarray(pixels[:, ::4], np.float64)
    if ground is None:
        level = part.mean(axis=1)
    else:
        mine = ground[:, ::4]
        count = mine.sum(axis=1)
        level = np.where(mine, part, 0.0).sum(axis=1) / np.maximum(count, 1)
        level = level[count >= 8]
    if level.size < 32:
        return False
    t = np.linspace(-1.0, 1.0, level.size)
    rest = level - np.polynomial.polynomial.polyval(t, np.polynomial.polynomial.polyfit(t, level, 3))
    # single dead or black rows are flagged by themselves
    return float(np.quantile(np.abs(rest), 0.68)) > BANDS * step


def patterned(pixels: np.ndarray, slope: float, step: float) -> bool:
    """Whether a wave runs through an image of vertical lines that is none of theirs (mains hum, moire).

    Largest power in the spectrum of the middle of the image against its neighbourhood. Waves that the lines can make,
    along them and in the fan of their tilt, are left out: a wave whose crests run along the lines cannot be told.
    """
    from scipy.ndimage import uniform_filter

    ny, nx = pixels.shape
    n = min(_WINDOW, ny, nx)
    if n < 64:
        return False
    top, left = (ny - n) // 2, (nx - n) // 2
    part = np.asarray(pixels[top : top + n, left : left + n], np.float64)
    window = np.multiply.outer(np.hanning(n), np.hanning(n))
    power = np.abs(np.fft.rfft2((part - part.mean(axis=0)) * window)) ** 2
    near = uniform_filter(power, 15, mode="wrap") * 225.0 - uniform_filter(power, 5, mode="wrap") * 25.0
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = power / (near / 200.0)
    fy, fx = np.abs(np.fft.fftfreq(n))[:, None], np.fft.rfftfreq(n)[None, :]
    free = (fy > 4.0 / n + 1.5 * abs(slope) * fx) & (fx > 2.0 / n)
    amplitude = 2.0 * np.sqrt(power) / window.sum()
    return bool(np.any(free & (ratio > _STANDS_OUT) & (amplitude > _PATTERN * step)))


def coarse(grey_step: float, contrast: float, noise: float) -> bool:
    """Whether grey levels ``grey_step`` apart are too few for a step of ``contrast`` and a ``noise`` (1 s)."""
    return grey_step * _COARSE > contrast and noise < _DITHER * grey_step


def piled_up(pixels: np.ndarray, share: float) -> bool:
    """Whether values pile up at the largest or the smallest grey level that occurs: cut off there, wherever that is.

    More than ``share`` of the pixels, and nearly as many as at the next level: the tail of noise, where it holds that
    many, falls faster from level to level. The other pixels must show noise.
    """
    some = pixels[:: max(1, pixels.size // 200_000)]
    for end in (pixels.max(), pixels.min()):
        if int(np.count_nonzero(pixels == end)) <= share * pixels.size:
            continue
        free = some != end
        pairs = free[:, 1:] & free[:, :-1]
        alike = np.count_nonzero(pairs & (some[:, 1:] == some[:, :-1]))
        if not pairs.any() or alike > _SCANNED * np.count_nonzero(pairs):
            continue
        rest = some[free]
        beside = rest.max() if rest.max() < end else rest.min()
        if some.size - rest.size > _PILE * np.count_nonzero(rest == beside):
            return True
    return False
