"""``abbe deviation``: one scan against one nominal, at once."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from pipelines.cli.session import Session, json_option, named_file
from pipelines.cli.tables import show_flags, value_table

_METHODS = ("best-fit", "minimum-maximum", "tolerance-fit", "rps", "none")


@click.command("deviation")
@click.argument("scan", type=click.Path(path_type=Path))
@click.argument("nominal", type=click.Path(path_type=Path))
@click.option("--unit", required=True, help="Unit of the scan, e.g. mm.")
@click.option("--dataset", metavar="NAME", help="Of an HDF5 file with several: the dataset of the points.")
@click.option(
    "--also", "also", type=click.Path(path_type=Path), multiple=True, metavar="SCAN",
    help="A further scan of the same part, registered together with SCAN; repeat.",
)  # fmt: skip
@click.option("--nominal-unit", help="Unit of the nominal (default: that of the scan; CAD files state their own).")
@click.option(
    "--align", "align", type=click.Choice(_METHODS), default="best-fit", show_default=True,
    help="How the scan comes into the nominal's frame.",
)  # fmt: skip
@click.option(
    "--loss",
    type=click.Choice(["squares", "huber", "tukey"]),
    default="squares",
    show_default=True,
    help="What a fit minimises; tukey leaves out what is not form: a dent does not pull the part.",
)
@click.option("--targets", type=click.Path(path_type=Path), help="File of datum targets, for --align rps.")
@click.option("--permission", help="Where the drawing allows a fit; without it there is no verdict.")
@click.option(
    "--points-are", type=click.Choice(["surface", "ball_centre", "unknown"]), default="surface", show_default=True
)
@click.option("--tip-radius", metavar="QUANTITY", help="Radius of the probe tip for ball centres, e.g. '1.5 mm'.")
@click.option("--tolerance", metavar="LIMITS", help="'0.1 mm' for +-0.1 mm, or '-0.05 mm,0.1 mm'.")
@click.option(
    "--least-coverage", type=click.FloatRange(0.0, 1.0), default=0.8, show_default=True, metavar="SHARE",
    help="Of the nominal's area: with less measured no part is called conforming.",
)  # fmt: skip
@click.option("--search-limit", metavar="QUANTITY", help="Points farther from the nominal have no deviation.")
@click.option("--noise", metavar="QUANTITY", help="Standard deviation of a point along the normal.")
@click.option(
    "--section",
    "sections",
    multiple=True,
    metavar="AXIS=PLACE",
    help="A plane cut, e.g. 'z=12.5 mm'; repeat. A bare number is in --unit, if the nominal has the same.",
)
@click.option("--out", type=click.Path(path_type=Path), help="New folder for recipe, record and report.")
@click.option("--resume", is_flag=True, help="Go on with the same command after an interruption, in its --out folder.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the coarse alignment.")
@click.option("--strict", is_flag=True, help="A provisional verdict counts as indeterminate: exit code 6 at best.")
@json_option
@click.pass_obj
def deviation(
    session: Session,
    scan: Path,
    nominal: Path,
    unit: str,
    also: tuple[Path, ...],
    dataset: str | None,
    nominal_unit: str | None,
    align: str,
    loss: str,
    targets: Path | None,
    permission: str | None,
    points_are: str,
    tip_radius: str | None,
    tolerance: str | None,
    least_coverage: float,
    search_limit: str | None,
    noise: str | None,
    sections: tuple[str, ...],
    out: Path | None,
    resume: bool,
    seed: int,
    strict: bool,
) -> int:
    """Deviations of SCAN from NOMINAL (mesh STL, OBJ, PLY, or CAD), + for excess material.

    With --out the folder holds recipe, nominal, record and report; 'abbe run' measures a lot with that recipe. An HDF5
    file of many millions of points is read in blocks, with bounded memory.
    """
    from pipelines.cli.run import limit_threads

    limit_threads()
    from metrology_core.errors import UsageError
    from pipelines.run import run_recipe
    from pipelines.steps.surroundings import told
    from pipelines.store import RunFolder

    for path, what in (
        *((path, "scan") for path in (scan, *also)),
        (nominal, "nominal"),
        *([(targets, "file of targets")] if targets else []),
    ):
        named_file(path, what)
    if also:
        _check_together(scan, also, align, loss)
    if resume and out is None:
        raise UsageError("there is nothing to go on with", remedy="give the folder with --out")
    if out is not None and not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{str(out)!r} is not empty", remedy="give a new folder with --out, or add --resume")
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) if out is None else out
        base.mkdir(parents=True, exist_ok=True)
        folder = Path(os.path.commonpath([path.resolve().parent for path in (scan, *also)]))
        recipe = _write_recipe(
            base, scan, nominal, also=also, folder=folder, unit=unit, dataset=dataset,
            nominal_unit=nominal_unit or unit, align=align, loss=loss, targets=targets, permission=permission,
            points_are=points_are, tip_radius=tip_radius, tolerance=tolerance, search_limit=search_limit, noise=noise,
            sections=sections, seed=seed, least_coverage=least_coverage,
        )  # fmt: skip
        with told(session.remark):
            summary = run_recipe(
                recipe, [scan.resolve() if also else scan], out=base / "run", data_root=folder, report=out is not None,
                remark=session.remark, resume=resume, strict=strict,
            )  # fmt: skip
        run = RunFolder(base / "run")
        row = run.outcomes()[0]
        document: Mapping[str, Any] = {}
        if row.outcome in ("measured", "measured_with_flags"):
            document = run.read_record(row.task_id).document
    report = None if summary.report is None or out is None else str(summary.report)
    answer = _answer(scan, nominal, row, document, report)
    session.answer(answer)
    if not session.as_json:
        _show(session, answer)
    return int(summary.exit_code)


_BARE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _check_together(scan: Path, also: tuple[Path, ...], align: str, loss: str) -> None:
    """Further scans are other files, and are registered together by least squares only."""
    from metrology_core.errors import UsageError

    seen: set[Path] = set()
    for path in (scan, *also):
        if path.resolve() in seen:
            raise UsageError(f"the scan {str(path)!r} stands twice", remedy="name each scan of the part once")
        seen.add(path.resolve())
    if align != "best-fit" or loss != "squares":
        raise UsageError(
            "scans with --also are registered together by least squares",
            expected="--align best-fit --loss squares (the defaults)",
            got=f"--align {align} --loss {loss}",
            remedy="take these options out, or measure the scans one by one",
        )


def _write_recipe(base: Path, scan: Path, nominal: Path, **given: Any) -> Path:
    """The recipe of this measurement with its nominal beside it: the folder is complete evidence."""
    from metrology_core.errors import UsageError
    from metrology_core.units import quantity
    from pipelines.recipe.write import write_recipe

    def beside(path: Path) -> str:
        name = path.name
        shutil.copyfile(path, base / name)
        return name

    def amount(text: str) -> str:
        quantity(text, "length")  # a bare number is refused: its unit would be a guess
        return text.strip()

    align: dict[str, Any] = {"method": given["align"].replace("-", "_"), "loss": given["loss"]}
    if given["targets"] is not None:
        align["targets"] = beside(given["targets"])
    if given["permission"]:
        align["permission"] = given["permission"]
    files: list[Any] = ["*"]
    if given["also"]:
        names = [path.resolve().relative_to(given["folder"]).as_posix() for path in (scan, *given["also"])]
        files = [{"file": names[0], "also": names[1:]}]
    inputs: dict[str, Any] = {"files": files, "unit": given["unit"], "points_are": given["points_are"]}
    if given["dataset"]:
        inputs["dataset"] = given["dataset"]
    if given["tip_radius"]:
        inputs["tip_radius"] = amount(given["tip_radius"])
    measure: dict[str, Any] = {
        "kind": "deviation",
        "nominal": {"file": beside(nominal), "unit": given["nominal_unit"]},
        "align": align,
        "least_coverage": given["least_coverage"],
    }
    largest: dict[str, Any] = {"name": "largest deviation", "characteristic": "deviation.maximum"}
    smallest: dict[str, Any] = {"name": "smallest deviation", "characteristic": "deviation.minimum"}
    if given["tolerance"]:
        parts = [amount(part) for part in given["tolerance"].split(",")]
        if len(parts) == 1:
            measure["tolerance"] = {"plus_minus": parts[0]}
            low, high = f"-{parts[0]}", parts[0]
        elif len(parts) == 2:
            low, high = parts
            measure["tolerance"] = {"lower": low, "upper": high}
        else:
            raise UsageError("a tolerance is one size or two limits", got=given["tolerance"])
        largest["tolerance"], smallest["tolerance"] = {"max": high}, {"min": low}
    if given["search_limit"]:
        measure["search_limit"] = amount(given["search_limit"])
    if given["sections"]:
        measure["sections"] = [_section(text, given["unit"], given["nominal_unit"]) for text in given["sections"]]
    measure["characteristics"] = [
        largest,
        smallest,
        {"name": "mean deviation", "characteristic": "deviation.mean"},
        {"name": "root mean square", "characteristic": "deviation.rms"},
    ]
    document: dict[str, Any] = {
        "schema": "abbe/recipe/1",
        "name": f"{scan.stem} against {nominal.stem}",
        "seed": given["seed"],
        "inputs": inputs,
    }  # fmt: skip
    if given["noise"]:
        document["instrument"] = {"id": "stated", "type": "stated on the command line", "noise": amount(given["noise"])}
    document["measure"] = measure
    path = base / "recipe.yaml"
    write_recipe(path, document)
    return path


def _section(text: str, unit: str, nominal_unit: str) -> dict[str, Any]:
    """``z=12.5 mm`` as a plane of the recipe. A bare number is in the one unit of scan and nominal, and refused where
    they have two."""
    from metrology_core.errors import UnitError, UsageError
    from metrology_core.units import quantity
    from metrology_core.units import unit as find_unit

    example = "for example --section 'z=12.5 mm'"
    axis, _, place = text.partition("=")
    axis, at = axis.strip().lower(), place.strip()
    if axis not in ("x", "y", "z") or not at:
        raise UsageError("a section is an axis and a place", expected=example, got=repr(text))
    if _BARE.fullmatch(at):
        if find_unit(unit) != find_unit(nominal_unit):
            raise UsageError(
                f"the section {text!r} has no unit, and scan and nominal have two: {unit} and {nominal_unit}",
                expected=example, remedy=f"write --section '{axis}={at} {nominal_unit}'",
            )  # fmt: skip
        at = f"{at} {unit}"
    try:
        quantity(at, "length")
    except UnitError as error:
        raise UsageError(f"the section {text!r} is no place: {error.what}", expected=example) from None
    k = "xyz".index(axis)
    zero = f"0 {nominal_unit}"
    return {
        "name": f"{axis} = {at}",
        "origin": [at if i == k else zero for i in range(3)],
        # along y the cut is seen from the front, so that z points up
        "normal": [0.0 if i != k else -1.0 if k == 1 else 1.0 for i in range(3)],
    }


def _answer(scan: Path, nominal: Path, row: Any, document: Mapping[str, Any], report: str | None) -> dict[str, Any]:
    view: Mapping[str, Any] = next(iter(document.get("views", ())), {})
    return {
        "scan": str(scan),
        "nominal": str(nominal),
        "outcome": row.outcome,
        "verdict": row.verdict,
        "reason": row.reason,
        "unit": view.get("unit"),
        "alignment": view.get("registration"),
        "nominal_read": view.get("nominal"),
        "measurements": list(document.get("measurements", ())),
        "statistics": view.get("statistics"),
        "places": view.get("places"),
        "coverage": view.get("coverage"),
        "counts": view.get("counts"),
        "flags": list(row.flags),
        "report": report,
    }


def _show(session: Session, answer: Mapping[str, Any]) -> None:
    console = session.console
    if answer["reason"]:
        console.print(f"{answer['outcome'].replace('_', ' ')}: {answer['reason'].get('message', '')}", markup=False)
        if answer["reason"].get("remedy"):
            console.print(f"  remedy: {answer['reason']['remedy']}", markup=False)
    found = answer["alignment"]
    if found:
        words = f"alignment: {found['method']}, {found['status']}, {found['n_used']} points"
        if found["free"]:
            words += "; free: " + ", ".join(str(m.get("words", m)) for m in found["free"])
        console.print(words, markup=False)
        if found["obstacle"] and any(m["tolerance"] for m in answer["measurements"]):
            console.print(f"no verdict: {found['obstacle']}", markup=False)
    rows = answer["measurements"]
    if rows:
        verdicts = [str((m.get("decision") or {}).get("verdict", "-")) for m in rows]
        console.print(value_table(rows, further={"verdict": verdicts}))
    for place in (answer["places"] or ())[:5]:
        at = ", ".join(f"{c:.3f}" for c in place["position"])
        console.print(
            f"{place['label']}: {place['value']:+.4g} {answer['unit']} at ({at}), {place['n']} points", markup=False
        )
    if answer["coverage"]:
        share = answer["coverage"]["without_data"] / max(answer["coverage"]["area"], 1e-300)
        console.print(f"nominal without data: {100 * share:.1f} %", markup=False)
        if not answer["coverage"]["enough"] and any(m["tolerance"] for m in answer["measurements"]):
            least = answer["coverage"]["least"]
            console.print(
                f"no part is called conforming with less than {100 * least:.0f} % of it measured (--least-coverage)",
                markup=False,
            )
    show_flags(session, answer["flags"])
    if answer["report"]:
        console.print(f"report: {answer['report']}", markup=False)
