"""Readers of NIST StRD files, and the models of the nonlinear sets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def lre(found: float, certified: float) -> float:
    """Log relative error, with its sign kept out of it: digits that agree (absolute where the certified value is 0)."""
    error = abs(found - certified) / (abs(certified) if certified else 1.0)
    return 16.0 if error == 0.0 else float(-np.log10(error))


def nonlinear(path: Path) -> dict[str, object]:
    """Starts, certified values and standard deviations, data of a nonlinear set."""
    text = path.read_text()
    rows = re.findall(rf"^\s*b(\d+)\s*=\s*({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})", text, re.MULTILINE)
    table = np.array([[float(v) for v in row[1:]] for row in rows])
    body = text[text.rindex("Data:") :].splitlines()[1:]
    data = np.array([[float(v) for v in line.split()] for line in body if line.strip()])
    rss = float(re.search(rf"Residual Sum of Squares:\s+({NUMBER})", text).group(1))
    return {"starts": table[:, :2].T, "values": table[:, 2], "errors": table[:, 3], "data": data, "rss": rss}


def _lanczos(x, b1, b2, b3, b4, b5, b6):  # type: ignore[no-untyped-def]
    return b1 * np.exp(-b2 * x) + b3 * np.exp(-b4 * x) + b5 * np.exp(-b6 * x)


def _gauss(x, b1, b2, b3, b4, b5, b6, b7, b8):  # type: ignore[no-untyped-def]
    return b1 * np.exp(-b2 * x) + b3 * np.exp(-((x - b4) ** 2) / b5**2) + b6 * np.exp(-((x - b7) ** 2) / b8**2)


def _enso(x, b1, b2, b3, b4, b5, b6, b7, b8, b9):  # type: ignore[no-untyped-def]
    w = 2.0 * np.pi * x
    return (
        b1 + b2 * np.cos(w / 12) + b3 * np.sin(w / 12) + b5 * np.cos(w / b4) + b6 * np.sin(w / b4)
        + b8 * np.cos(w / b7) + b9 * np.sin(w / b7)
    )  # fmt: skip


def _chwirut(x, b1, b2, b3):  # type: ignore[no-untyped-def]
    return np.exp(-b1 * x) / (b2 + b3 * x)


def _rational(x, b1, b2, b3, b4, b5, b6, b7):  # type: ignore[no-untyped-def]
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1.0 + b5 * x + b6 * x**2 + b7 * x**3)


MODELS = {
    "Bennett5": lambda x, b1, b2, b3: b1 * (b2 + x) ** (-1.0 / b3),
    "BoxBOD": lambda x, b1, b2: b1 * (1.0 - np.exp(-b2 * x)),
    "Chwirut1": _chwirut,
    "Chwirut2": _chwirut,
    "DanWood": lambda x, b1, b2: b1 * x**b2,
    "ENSO": _enso,
    "Eckerle4": lambda x, b1, b2, b3: b1 / b2 * np.exp(-0.5 * ((x - b3) / b2) ** 2),
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "Gauss3": _gauss,
    "Hahn1": _rational,
    "Kirby2": lambda x, b1, b2, b3, b4, b5: (b1 + b2 * x + b3 * x**2) / (1.0 + b4 * x + b5 * x**2),
    "Lanczos1": _lanczos,
    "Lanczos2": _lanczos,
    "Lanczos3": _lanczos,
    "MGH09": lambda x, b1, b2, b3, b4: b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4),
    "MGH10": lambda x, b1, b2, b3: b1 * np.exp(b2 / (x + b3)),
    "MGH17": lambda x, b1, b2, b3, b4, b5: b1 + b2 * np.exp(-x * b4) + b3 * np.exp(-x * b5),
    "Misra1a": lambda x, b1, b2: b1 * (1.0 - np.exp(-b2 * x)),
    "Misra1b": lambda x, b1, b2: b1 * (1.0 - (1.0 + b2 * x / 2.0) ** -2),
    "Misra1c": lambda x, b1, b2: b1 * (1.0 - (1.0 + 2.0 * b2 * x) ** -0.5),
    "Misra1d": lambda x, b1, b2: b1 * b2 * x / (1.0 + b2 * x),
    "Nelson": lambda x, b1, b2, b3: b1 - b2 * x[0] * np.exp(-b3 * x[1]),
    "Rat42": lambda x, b1, b2, b3: b1 / (1.0 + np.exp(b2 - b3 * x)),
    "Rat43": lambda x, b1, b2, b3, b4: b1 / (1.0 + np.exp(b2 - b3 * x)) ** (1.0 / b4),
    "Roszman1": lambda x, b1, b2, b3, b4: b1 - b2 * x - np.arctan(b3 / (x - b4)) / np.pi,
    "Thurber": _rational,
}
