"""Compile the numerical kernels for this machine and user, so that the first measurement does not have to.

Run by the set-up; harmless and quick when the cache is full. The kernels would otherwise compile when first used.
"""

from __future__ import annotations


def main() -> int:
    import numpy as np

    from metrology_core._jit import warm_up
    from metrology_core.data import Image, PointSet
    from metrology_core.uncertainty import Model, Normal, StudentT
    from pointcloud.deviation.field import deviate
    from pointcloud.deviation.statistics import statistics
    from pointcloud.nominal.mesh import TriangleMesh
    from pointcloud.nominal.tree import SurfaceTree
    from pointcloud.registration import align
    from wafer import find_edges
    from wafer.contacts import measure_contacts
    from wafer.contours.evaluate import measure_contours
    from wafer.simulate import simulate_lines
    from wafer.simulate.contacts import simulate_contacts
    from wafer.smoothing import Smoothing

    warm_up()
    pixels = simulate_lines(seed=1, shape=(64, 256)).pixels
    for criterion in ("threshold", "max_gradient", "sigmoid", "model"):
        find_edges(pixels, criterion=criterion)
    find_edges(pixels, smoothing=Smoothing("gaussian", 2.0))
    contacts = simulate_contacts(seed=1, shape=(160, 160))
    image = Image(contacts.pixels, "nm", contacts.model.pixel)
    measure_contacts(image)
    measure_contours(image)
    inputs = {"a": Normal(0.0, 1.0), "b": StudentT(0.0, 5, scale=1.0)}
    Model(lambda a, b: a + b, inputs, {("a", "b"): 0.5}).monte_carlo(trials=1000)
    # a tetrahedron and points of its faces, a little moved: tree, closest points, sides, registration
    vertices = np.array([[0.0, 0.0, 0.0], [40.0, 0.0, 0.0], [0.0, 30.0, 0.0], [0.0, 0.0, 20.0]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    share = np.random.default_rng(1).dirichlet(np.ones(3), 400)
    xyz = np.einsum("nk,nkc->nc", share, vertices[faces[np.arange(400) % 4]]) + 0.01
    scan = PointSet.from_array(xyz, unit="mm", frame="scanner", points_are="surface")
    tree = SurfaceTree(TriangleMesh(vertices, faces, "mm"))
    align(scan, tree)
    align(scan, tree, method="minimum_maximum")
    statistics(deviate(scan, tree))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
