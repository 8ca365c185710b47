"""Compiled kernels of the wafer package: plain functions over arrays, ``start`` and ``stop``, no exceptions."""
