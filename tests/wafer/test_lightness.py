"""Importing the package costs nothing: no compiled or heavy library comes with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_import_is_light(repository: Path) -> None:
    code = (
        "import sys, wafer, wafer.readers, wafer.lines.evaluate, wafer.characteristics, wafer.simulate;"
        "wafer.SemLineSettings(); wafer.read_image;"
        "heavy = {'numba', 'scipy', 'open3d', 'cv2', 'h5py', 'dask', 'tifffile', 'skimage', 'PIL'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
