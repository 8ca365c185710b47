"""The registry of characteristics: what can be measured, after which standard, from what."""

# importing the rows fills the registry
from metrology_core.characteristics import rows as _rows
from metrology_core.characteristics.registry import (
    Characteristic,
    Context,
    available,
    get,
    register,
)

__all__ = ["Characteristic", "Context", "available", "get", "register"]

del _rows
