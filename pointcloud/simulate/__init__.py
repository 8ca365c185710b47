"""Simulated parts with known truth: surfaces with realistic form error, measured by a simulated machine.

Public: `simulate_part`, `simulate_lot`, `Machine`. Scope: random probing noise along the path, tip radius error,
scale and squareness errors, three-lobed probing; no dynamic, no temperature gradients, no fixture distortion.
"""

from pointcloud.simulate.lot import DEFAULT_BAD, SimulatedPart, simulate_lot, simulate_part
from pointcloud.simulate.scan import Machine, Scan

__all__ = ["DEFAULT_BAD", "Machine", "Scan", "SimulatedPart", "simulate_lot", "simulate_part"]
