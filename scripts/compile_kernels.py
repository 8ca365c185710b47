"""Compile the numerical kernels for this machine and user, so that the first measurement does not have to.

Run by the set-up; harmless and quick when the cache is full. The kernels would otherwise compile when first used.
"""

from __future__ import annotations


def main() -> int:
    from metrology_core._jit import warm_up
    from metrology_core.uncertainty import Model, Normal, StudentT
    from wafer import find_edges
    from wafer.simulate import simulate_lines

    warm_up()
    pixels = simulate_lines(seed=1, shape=(64, 256)).pixels
    for criterion in ("threshold", "max_gradient", "sigmoid"):
        find_edges(pixels, criterion=criterion)
    inputs = {"a": Normal(0.0, 1.0), "b": StudentT(0.0, 5, scale=1.0)}
    Model(lambda a, b: a + b, inputs, {("a", "b"): 0.5}).monte_carlo(trials=1000)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
