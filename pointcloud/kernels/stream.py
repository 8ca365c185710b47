"""Summaries of a stream of deviations: counts, a histogram of doubles, and the extremes of every small cell of surface.

All is done point by point in the order of the file, so the state does not depend on how the stream was cut.
"""

from __future__ import annotations

import math

from metrology_core._jit import inner, kernel
from pointcloud.kernels.codes import NO_SIGN, NOTHING, REGION

# histogram: bins of equal relative width, `OCTAVES` octaves up from `numbers[TINY]`, either sign, and one for zero
OCTAVES, PARTS = 60, 4096
COARSE = 32  # bins of an octave for which lever arms are summed
# places in `numbers`
LOW_X, LOW_Y, LOW_Z, EDGE, TINY, OFFSET, LOW, HIGH, VARIANCE, PIVOT_X, PIVOT_Y, PIVOT_Z, N_NUMBERS = range(13)
# columns of a cell: number of points, of those below and above the tolerance, lowest and highest value
COUNT, BELOW, ABOVE, LOWEST, HIGHEST, N_CELL = 0, 1, 2, 3, 4, 8  # one cache line
# columns of the extremes of a cell
VALUE, INDEX, X, FOOT, NORMAL, FACE, N_COLUMNS = 0, 1, 2, 5, 8, 11, 12
MULTIPLIER = 0x2545F4914F6CDD1D  # of the key's hash (G. Marsaglia, J. Stat. Softw. 8 (2003) 14)
MOST_CELLS = 1 << 18  # along one axis


@inner
def cell_key(fx, fy, fz, nx, ny, nz, numbers):  # type: ignore[no-untyped-def]
    """One number for a cell of the grid and the main direction of the normal."""
    ix = int((fx - numbers[LOW_X]) / numbers[EDGE])
    iy = int((fy - numbers[LOW_Y]) / numbers[EDGE])
    iz = int((fz - numbers[LOW_Z]) / numbers[EDGE])
    ax, ay, az = abs(nx), abs(ny), abs(nz)
    if ax >= ay and ax >= az:
        side = 0 if nx < 0.0 else 1
    elif ay >= az:
        side = 2 if ny < 0.0 else 3
    else:
        side = 4 if nz < 0.0 else 5
    return ((ix << 36) | (iy << 18) | iz) * 6 + side


@inner
def bin_of(value, tiny):  # type: ignore[no-untyped-def]
    """Bin of a value: 0 for zero, then positive ones, then negative ones."""
    size = abs(value)
    if size < tiny:
        return 0
    mantissa, exponent = math.frexp(size / tiny)  # 0.5 <= mantissa < 1, exponent >= 1
    octave = min(exponent - 1, OCTAVES - 1)
    part = int((mantissa - 0.5) * 2.0 * PARTS)
    at = 1 + octave * PARTS + part
    return at if value > 0.0 else at + OCTAVES * PARTS


@inner
def slot_of(keys, key):  # type: ignore[no-untyped-def]
    """Place of a key in the table, or the free place where it belongs."""
    mask = len(keys) - 1
    at = ((int(key) * MULTIPLIER) >> 33) & mask
    while keys[at] != -1 and keys[at] != key:
        at = (at + 1) & mask
    return at


@kernel
def rehash(old, new, places):  # type: ignore[no-untyped-def]
    """Put the keys of a full table into a larger one; ``places`` (len(old),) says where each went, -1 for none."""
    for i in range(len(old)):
        places[i] = -1
        if old[i] != -1:
            at = slot_of(new, old[i])
            new[at] = old[i]
            places[i] = at


@kernel
def summarise(  # type: ignore[no-untyped-def]
    xyz, rows, words, base, start, numbers, factor, edges,
    histogram, levers, sums, bands, faces, keys, cells, extremes, used,
):  # fmt: skip
    """Add points start.. of a block; returns where it stopped: the end, or where the table of cells became too full.

    ``sums``: n, mean, sum of squared differences, sum of squares with its rounding, guard count, then 6 mean levers and
    6 sums of value times lever. ``used[0]``: cells in use.
    """
    n = len(rows)
    full = int(0.7 * len(keys))
    tiny, offset, low, high = numbers[TINY], numbers[OFFSET], numbers[LOW], numbers[HIGH]
    for i in range(start, n):
        if used[0] >= full:
            return i
        code = words[i, 15]
        if (code & NO_SIGN) != 0 or (code & REGION) == NOTHING:
            continue
        value = rows[i, 3] - offset
        fx, fy, fz, nx, ny, nz = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 4], rows[i, 5], rows[i, 6]
        face = words[i, 14]
        # moments (D. E. Knuth, The Art of Computer Programming 2, 4.2.2)
        sums[0] += 1.0
        delta = value - sums[1]
        sums[1] += delta / sums[0]
        sums[2] += delta * (value - sums[1])
        square = value * value - sums[4]
        total = sums[3] + square
        sums[4] = (total - sums[3]) - square
        sums[3] = total
        # lever arms of the alignment
        px, py, pz = fx - numbers[PIVOT_X], fy - numbers[PIVOT_Y], fz - numbers[PIVOT_Z]
        arm = (py * nz - pz * ny, pz * nx - px * nz, px * ny - py * nx, nx, ny, nz)
        at = bin_of(value, tiny)
        histogram[at] += 1
        coarse = 0 if at == 0 else 1 + (at - 1) // (PARTS // COARSE)
        levers[coarse, 6] += 1.0
        variance = numbers[VARIANCE]
        for k in range(6):
            sums[6 + k] += arm[k]
            sums[12 + k] += value * arm[k]
            levers[coarse, k] += arm[k]
        for k in range(factor.shape[1]):
            part = 0.0
            for j in range(6):
                part += arm[j] * factor[j, k]
            variance += part * part
        margin = min(value - low, high - value)
        if abs(margin) < 2.0 * math.sqrt(variance):
            sums[5] += 1.0
        band = 0
        while band < len(edges) and value >= edges[band]:
            band += 1
        if band == len(edges) and band > 0 and value <= high:
            band -= 1  # the last inner band holds its upper edge
        bands[band] += 1
        faces[face] += 1
        key = cell_key(fx, fy, fz, nx, ny, nz, numbers)
        s = slot_of(keys, key)
        fresh = keys[s] == -1
        if fresh:
            keys[s] = key
            used[0] += 1
        cells[s, COUNT] += 1.0
        if value < low:
            cells[s, BELOW] += 1.0
        if value > high:
            cells[s, ABOVE] += 1.0
        for side in range(2):
            better = value < cells[s, LOWEST] if side == 0 else value > cells[s, HIGHEST]
            if fresh or better:
                cells[s, LOWEST + side] = value
                extremes[s, side, VALUE] = value
                extremes[s, side, INDEX] = base + i
                for k in range(3):
                    extremes[s, side, X + k] = xyz[i, k]
                extremes[s, side, FOOT], extremes[s, side, FOOT + 1], extremes[s, side, FOOT + 2] = fx, fy, fz
                extremes[s, side, NORMAL], extremes[s, side, NORMAL + 1], extremes[s, side, NORMAL + 2] = nx, ny, nz
                extremes[s, side, FACE] = face
    return n


@kernel
def within_cells(rows, words, numbers, keys, chosen):  # type: ignore[no-untyped-def]
    """Mark the rows whose cell is in a table of keys."""
    for i in range(len(rows)):
        code = words[i, 15]
        chosen[i] = False
        if (code & NO_SIGN) != 0 or (code & REGION) == NOTHING:
            continue
        key = cell_key(rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 4], rows[i, 5], rows[i, 6], numbers)
        chosen[i] = keys[slot_of(keys, key)] == key


@kernel
def near_boxes(xyz, low, scale, shape, voxels, chosen):  # type: ignore[no-untyped-def]
    """Mark the points whose voxel is marked; returns how many."""
    count = 0
    for i in range(len(xyz)):
        chosen[i] = False
        ix = (xyz[i, 0] - low[0]) * scale
        iy = (xyz[i, 1] - low[1]) * scale
        iz = (xyz[i, 2] - low[2]) * scale
        inside = ix >= 0.0 and iy >= 0.0 and iz >= 0.0 and ix < shape[0] and iy < shape[1] and iz < shape[2]
        if inside and voxels[int(ix), int(iy), int(iz)]:
            chosen[i] = True
            count += 1
    return count
