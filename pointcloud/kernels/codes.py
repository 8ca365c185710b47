"""Words that closest-point kernels write beside each foot point: the region it is in, and what is to be known of it."""

from __future__ import annotations

FACE, EDGE, VERTEX, NOTHING = 0, 1, 2, 3
OPEN_BORDER, BEYOND_LIMIT, ANGLE, NON_FINITE, NON_MANIFOLD, NO_SIGN = 4, 8, 16, 32, 64, 128
LOCAL_SHIFT = 8  # bits 8 and 9: which edge or corner of the triangle
REGION = 3
"""Mask of the region."""
APPROXIMATE = 1024
"""The foot is that on the triangles: no exact foot was found."""
