"""Reference sets as text files, for software that is not Abbe: points, and the answers beside them.

A folder holds one ``NAME.txt`` per set (one point per line, 17 significant digits, so that every coordinate is read
back to the bit) and ``answers.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metrology_core.errors import ReaderError
from metrology_core.testing.answer import KnownAnswer
from metrology_core.testing.judge import Errors, errors_of, feature_from

SCHEMA = "abbe/reference-sets/1"
ANSWERS = "answers.json"


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def write_sets(folder: Path | str, sets: Iterable[tuple[str, KnownAnswer]], **about: Any) -> list[Path]:
    """Write named sets into a folder (made if need be); `about` goes into ``answers.json``. Returns the files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written, answers = [], {}
    for name, known in sets:
        path = folder / f"{name}.txt"
        path.write_text(
            "".join(" ".join(format(v, ".17g") for v in row) + "\n" for row in known.points.tolist()), encoding="ascii"
        )
        written.append(path)
        answers[name] = {
            "feature": known.feature.kind,
            "dimension": known.feature.dimension,
            "criterion": known.criterion,
            "material": known.material,
            "known_parameters": {key: _plain(value) for key, value in known.fixed.items()},
            "n_points": len(known.points),
            "parameters": {key: _plain(value) for key, value in known.feature.parameters.items()},
            "value": known.value,
            "contacts": known.contacts.tolist(),
            "signs": known.signs.tolist(),
            "multipliers": known.multipliers.tolist(),
            "resolution": known.resolution,
            "sensitivity": dict(known.sensitivity),
        }
    document = {
        "schema": SCHEMA,
        "unit": "mm",
        "angles": "rad",
        "value": "least_squares: residual standard deviation; zone criteria: width of the zone or band; "
        "least_absolute: sum of absolute distances; one-sided least squares: largest distance",
        **about,
        "sets": answers,
    }
    path = folder / ANSWERS
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return [*written, path]


def read_sets(folder: Path | str) -> Iterator[tuple[str, KnownAnswer]]:
    """The sets of a folder that `write_sets` made. Raises `ReaderError` for anything else."""
    folder = Path(folder)
    try:
        document = json.loads((folder / ANSWERS).read_text(encoding="utf-8"))
        answers = document["sets"]
        if document["schema"] != SCHEMA:
            raise ReaderError("another schema", path=ANSWERS, expected=SCHEMA, got=str(document["schema"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReaderError(
            "not a folder of reference sets", path=str(folder), expected=f"{ANSWERS} of 'abbe selftest --export'",
            got=f"{type(error).__name__}: {error}",
        ) from None  # fmt: skip
    for name, row in answers.items():
        try:
            points = np.loadtxt(folder / f"{name}.txt", ndmin=2)
        except (OSError, ValueError) as error:
            raise ReaderError("the points of a set cannot be read", path=f"{name}.txt", got=str(error)) from None
        if points.shape != (row["n_points"], row["dimension"]):
            raise ReaderError(
                "the points of a set are not those of its answer", path=f"{name}.txt",
                expected=f"({row['n_points']}, {row['dimension']})", got=str(points.shape),
            )  # fmt: skip
        yield (
            name,
            KnownAnswer(
                points,
                feature_from(row["feature"], row["dimension"], row["parameters"]),
                row["criterion"],
                row["value"],
                np.array(row["contacts"], np.int64),
                np.array(row["signs"], float),
                np.array(row["multipliers"], float),
                float("nan"),
                material=row["material"],
                fixed=row["known_parameters"],
                sensitivity=row["sensitivity"],
            ),
        )


def judge_answers(folder: Path | str, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Errors]:
    """Errors of other software's results, set by set: ``{set: {parameter: value}}`` against the answers of a folder.

    Sets without a result are left out; an unknown name or a wrong parameter raises.
    """
    known = dict(read_sets(folder))
    strange = sorted(set(results) - set(known))
    if strange:
        raise ReaderError("results for sets that the folder does not hold", got=", ".join(strange[:5]))
    return {
        name: errors_of(known[name], feature_from(known[name].feature.kind, known[name].feature.dimension, dict(found)))
        for name, found in results.items()
    }
