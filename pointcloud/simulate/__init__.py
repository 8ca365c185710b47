"""Simulated parts with known truth: surfaces with realistic form error, measured by a simulated machine.

Public: `simulate_part`, `simulate_lot`, `Machine`, and the virtual instrument `VirtualScanner`.
Scope of the machine: random probing noise along the path, tip radius error,
scale and squareness errors, three-lobed probing; no dynamic, no temperature gradients, no fixture distortion.
"""

from pointcloud.simulate.lot import DEFAULT_BAD, SimulatedPart, simulate_lot, simulate_part
from pointcloud.simulate.scan import Machine, Scan
from pointcloud.simulate.scanner import View, VirtualScanner

__all__ = ["DEFAULT_BAD", "Machine", "Scan", "SimulatedPart", "View", "VirtualScanner", "simulate_lot", "simulate_part"]
