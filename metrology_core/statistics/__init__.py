"""Statistics of many measurements: nested variance components."""

from metrology_core.statistics.nested import Component, NestedComponents, nested_components

__all__ = ["Component", "NestedComponents", "nested_components"]
