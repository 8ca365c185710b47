"""Compile the numerical kernels for this machine and user, so that the first measurement does not have to.

Run by the set-up; harmless and quick when the cache is full. The kernels would otherwise compile when first used.
"""

from __future__ import annotations


def main() -> int:
    from metrology_core._jit import warm_up
    from wafer import find_edges
    from wafer.simulate import simulate_lines

    warm_up()
    pixels = simulate_lines(seed=1, shape=(64, 256)).pixels
    for criterion in ("threshold", "max_gradient", "sigmoid"):
        find_edges(pixels, criterion=criterion)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
