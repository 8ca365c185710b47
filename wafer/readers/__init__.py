"""Readers of microscope images: TIFF with the metadata of the SEM makers, PNG, BMP."""

from __future__ import annotations

from wafer.readers.api import read_image

__all__ = ["read_image"]
