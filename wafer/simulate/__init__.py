"""Simulated SEM images and lots with known truth: for tests, demos, and for users who validate their own recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wafer.simulate.contacts import ContactImage, ContactModel, simulate_contacts
    from wafer.simulate.instruments import VirtualMicroscope, VirtualProfiler
    from wafer.simulate.line_defects import LineDefect
    from wafer.simulate.lot import LotPlan, LotTruth, write_sem_lot
    from wafer.simulate.roughness import rough_edges, rough_lines
    from wafer.simulate.sem import SemImage, SemModel, simulate_blank, simulate_lines
    from wafer.simulate.shapes import ShapeImage, ShapeModel, simulate_shapes
    from wafer.simulate.wafers import CdSignature, WaferLots, wafer_images, wafer_table

_HOME = {
    "CdSignature": "wafers",
    "WaferLots": "wafers",
    "wafer_images": "wafers",
    "wafer_table": "wafers",
    "ContactImage": "contacts",
    "ContactModel": "contacts",
    "simulate_contacts": "contacts",
    "ShapeImage": "shapes",
    "ShapeModel": "shapes",
    "simulate_shapes": "shapes",
    "LineDefect": "line_defects",
    "LotPlan": "lot",
    "LotTruth": "lot",
    "write_sem_lot": "lot",
    "rough_edges": "roughness",
    "rough_lines": "roughness",
    "SemImage": "sem",
    "SemModel": "sem",
    "VirtualMicroscope": "instruments",
    "VirtualProfiler": "instruments",
    "simulate_blank": "sem",
    "simulate_lines": "sem",
}

__all__ = [
    "WaferLots",
    "CdSignature",
    "ContactImage",
    "ContactModel",
    "LineDefect",
    "LotPlan",
    "LotTruth",
    "SemImage",
    "SemModel",
    "ShapeImage",
    "ShapeModel",
    "VirtualMicroscope",
    "VirtualProfiler",
    "rough_edges",
    "rough_lines",
    "simulate_blank",
    "simulate_contacts",
    "simulate_lines",
    "simulate_shapes",
    "wafer_images",
    "wafer_table",
    "write_sem_lot",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'wafer.simulate' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"wafer.simulate.{_HOME[name]}"), name)
