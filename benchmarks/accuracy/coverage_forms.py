"""Kinds of true form for the coverage of surfaces, none a Gaussian field. Values over parameters u, v in [0, 1].

``waves``: cosines of few wave numbers, amplitudes falling with a power of them. ``polynomials``: lobes times Legendre
polynomials along a bore, products of them on a plane, sizes after Student's t with 4 degrees of freedom: few large
ones. ``machined``: what machining leaves: barrel, taper, banana bend, 2, 3 and 5 lobes that change along the bore, bell
mouth; twist, bow in any direction, saddle and the dents of clamps on a plane; short waves of a fiftieth on both. Each
is there or not, with a log-normal size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pointcloud.simulate.fields import CosineField, waviness

TRUTHS = ("waves", "polynomials", "machined")


class PolynomialForm:
    """Lobes times Legendre polynomials along a bore, products of them on a plane; few of them large (Student's t)."""

    def __init__(self, kind: str, rng: np.random.Generator) -> None:
        first = np.arange(6)
        self.bore = kind == "bore"
        self.size = rng.standard_t(4.0, (6, 4)) * (1.0 + first[:, None] + np.arange(4)) ** -1.2
        self.phase = rng.uniform(0.0, 2.0 * np.pi, (6, 4))

    def __call__(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        from numpy.polynomial.legendre import legval

        total = np.zeros(np.broadcast(u, v).shape)
        for k in range(6):
            for d in range(4):
                wave = (
                    np.cos(2.0 * np.pi * k * u + self.phase[k, d]) if self.bore else legval(2.0 * u - 1.0, np.eye(6)[k])
                )
                total += self.size[k, d] * wave * legval(2.0 * v - 1.0, np.eye(4)[d])
        return total


class MachinedBore:
    """Barrel, taper, bend, lobes and bell mouth; v along the axis."""

    def __init__(self, rng: np.random.Generator) -> None:
        def some(chance: float) -> float:
            return float((rng.random() < chance) * np.exp(0.7 * rng.standard_normal()))

        self.barrel, self.taper, self.bend = some(0.6) * rng.choice([-1.0, 1.0]), 0.7 * some(0.6), some(0.5)
        self.bend_to = rng.uniform(0.0, 2.0 * np.pi)
        # lobes, size, phase, turn along the bore, change of size along it; a trace of four lobes is always there
        self.lobes = [
            (k, 0.7 * some(0.6) * (2.0 / k) ** 0.5, rng.uniform(0.0, 2.0 * np.pi), *rng.uniform(-0.5, 0.5, 2))
            for k in (2, 3, 5)
        ] + [(4, 0.15, rng.uniform(0.0, 2.0 * np.pi), 0.0, 0.0)]
        self.mouth, self.end, self.reach = 0.7 * some(0.3), rng.choice([-1.0, 1.0]), rng.uniform(0.4, 0.8)
        self.short = CosineField(
            0.02 * rng.uniform(0.5, 1.5, 6), rng.integers(5, 9, 6).astype(float), rng.uniform(-1.6, 1.6, 6),
            rng.uniform(0.0, 2.0 * np.pi, 6),
        )  # fmt: skip

    def __call__(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a, z = 2.0 * np.pi * u, 2.0 * v - 1.0
        total = self.barrel * z**2 + self.taper * z + self.bend * z**2 * np.cos(a - self.bend_to)
        for k, size, phase, turn, change in self.lobes:
            total = total + size * (1.0 + change * z) * np.cos(k * a + phase + turn * z)
        return total + self.mouth * np.exp((self.end * z - 1.0) / self.reach) + self.short(u, v)


class MachinedPlane:
    """Twist, bow, saddle and the dents of three clamps, at its edges."""

    def __init__(self, rng: np.random.Generator) -> None:
        def some(chance: float) -> float:
            return float((rng.random() < chance) * np.exp(0.7 * rng.standard_normal()))

        self.twist, self.bow, self.saddle = (some(0.6) * rng.choice([-1.0, 1.0]) for _ in range(3))
        self.along = rng.uniform(0.0, np.pi)
        self.clamps = []
        for i in range(3):
            x, y = rng.uniform(0.0, 1.0, 2)
            # two at the edges v = 0 or 1, one at u = 0 or 1; widths of 6 to 12 mm of a plane of 60 by 40 mm
            place = (float(x), float(round(y))) if i < 2 else (float(round(x)), float(y))
            self.clamps.append((-0.8 * some(0.7), *place, rng.uniform(6.0, 12.0)))
        self.short = CosineField(
            0.02 * rng.uniform(0.5, 1.5, 6), rng.uniform(-2.5, 2.5, 6), rng.uniform(-1.6, 1.6, 6),
            rng.uniform(0.0, 2.0 * np.pi, 6),
        )  # fmt: skip

    def __call__(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        x, y = 2.0 * u - 1.0, 2.0 * v - 1.0
        across = np.cos(self.along) * x + np.sin(self.along) * y
        total = self.twist * x * y + self.bow * across**2 + 0.7 * self.saddle * (x**2 - y**2) + 0.15 * x**3
        for size, at_u, at_v, width in self.clamps:
            square = (60.0 * (u - at_u)) ** 2 + (40.0 * (v - at_v)) ** 2
            total = total + size * np.exp(-square / (2.0 * width**2))
        return total + self.short(u, v)


def form_of(kind: str, rng: np.random.Generator, truth: str) -> Any:
    """A form of a ``bore`` or ``plane``, of one of `TRUTHS`."""
    if truth == "polynomials":
        return PolynomialForm(kind, rng)
    if truth == "machined":
        return MachinedBore(rng) if kind == "bore" else MachinedPlane(rng)
    if kind == "bore":
        return waviness(rng, 1.0, ku=(0, 5), kv=1.2, terms=14, slope=1.5)
    ku, kv = rng.uniform(-2.2, 2.2, 14), rng.uniform(-1.6, 1.6, 14)
    amplitude = (1.0 + np.hypot(ku, kv)) ** -1.5 * rng.uniform(0.5, 1.5, 14)
    return CosineField(amplitude, ku, kv, rng.uniform(0.0, 2.0 * np.pi, 14))
