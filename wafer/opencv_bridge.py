"""The one door to the PNG, BMP and LZW-TIFF decoders (OpenCV). Nothing here measures."""

from __future__ import annotations

import numpy as np


def decode(data: bytes) -> np.ndarray | None:
    """Decode the bytes of a PNG, BMP or (first page of a) TIFF image unchanged: (ny, nx) or (ny, nx, 3 or 4), uint8 or
    uint16; None if damaged.

    Colour channels come in OpenCV's order (blue first).
    """
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        found = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    return None if found is None else np.asarray(found)
