"""Draws and sums of the errors of a simulated instrument: a block of trials at a time, in a fixed order of sums."""

from __future__ import annotations

import numpy as np

from metrology_core._jit import kernel
from metrology_core.kernels.threefry import fill_words, through_table


@kernel
def mode_draws(seed, streams, first, table, words, out):  # type: ignore[no-untyped-def]
    """Standard normal numbers of trials ``first`` (even) on, one stream a mode, into out (modes, trials)."""
    for k in range(len(streams)):
        fill_words(seed, streams[k], np.uint64(0), first, words)
        through_table(words, table, 0.0, 1.0, out[k])


@kernel
def point_draws(seed, stream, first, table, words, out):  # type: ignore[no-untyped-def]
    """The same for points: one stream, one substream a point, into out (points, trials)."""
    for i in range(len(out)):
        fill_words(seed, stream, np.uint64(i), first, words)
        through_table(words, table, 0.0, 1.0, out[i])


@kernel
def add_modes(draws, skip, modes, out):  # type: ignore[no-untyped-def]
    """out (trials, m) += draws (modes, skip + trials) transposed times modes (modes, m); four trials share each pass
    over the modes."""
    trials, m = out.shape
    whole = trials - trials % 4
    for t in range(0, whole, 4):
        a, b, c, d = out[t], out[t + 1], out[t + 2], out[t + 3]
        for k in range(len(modes)):
            g = modes[k]
            wa, wb = draws[k, skip + t], draws[k, skip + t + 1]
            wc, wd = draws[k, skip + t + 2], draws[k, skip + t + 3]
            for j in range(m):
                x = g[j]
                a[j] += wa * x
                b[j] += wb * x
                c[j] += wc * x
                d[j] += wd * x
    for t in range(whole, trials):
        a = out[t]
        for k in range(len(modes)):
            g = modes[k]
            wa = draws[k, skip + t]
            for j in range(m):
                a[j] += wa * g[j]


@kernel
def add_noise(draws, skip, vectors, out):  # type: ignore[no-untyped-def]
    """out (trials, 3 n) += draws (n, skip + trials) times the vector (n, 3) of each point."""
    n = len(vectors)
    for t in range(len(out)):
        row = out[t]
        for i in range(n):
            w = draws[i, skip + t]
            row[3 * i] += w * vectors[i, 0]
            row[3 * i + 1] += w * vectors[i, 1]
            row[3 * i + 2] += w * vectors[i, 2]
