"""``abbe budget``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.session import Session, json_option, named_file
from pipelines.cli.tables import show_flags

if TYPE_CHECKING:
    from pipelines.budget.evaluate import BudgetResult


@click.command("budget")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Write budget.json, budget.csv and a picture per output.")
@click.option("--trials", metavar="N|adaptive", help="Number of Monte Carlo trials instead of the file's.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Seed instead of the file's.")
@click.option("--template", is_flag=True, help="Print an example file and stop.")
@click.option("--certificate", type=click.Path(path_type=Path), help="List the quantities of a DCC and stop.")
@json_option
@click.pass_obj
def budget(
    session: Session,
    model: Path | None,
    out: Path | None,
    trials: str | None,
    seed: int | None,
    template: bool,
    certificate: Path | None,
) -> int:
    """Evaluate the uncertainty budget of the YAML file MODEL.

    The law of propagation (GUM) and Monte Carlo (JCGM 101, 102) side by side, with the verdict whether Monte Carlo
    validates the first (JCGM 101 8.1.3).
    """
    from pipelines.budget.evaluate import evaluate
    from pipelines.budget.load import load_budget
    from pipelines.budget.template import TEMPLATE
    from pipelines.budget.write import write
    from pipelines.execute.compiling import compile_notice
    from pipelines.exit_codes import ExitCode

    if template:
        session.answer_text(TEMPLATE)
        return 0
    if certificate is not None:
        return _certificate(session, certificate)
    if model is None:
        raise click.UsageError("Missing argument 'MODEL' (or --template for an example).")
    loaded = _with_options(load_budget(model), trials, seed)
    with compile_notice(session.remark):
        result = evaluate(loaded)
    session.answer(result.to_dict())
    if out is not None:
        names = write(result, out)
        session.remark(f"written to {out}: {', '.join(names)}")
    if not session.as_json:
        _show(session, result)
    return int(ExitCode.CONFORMING if result.drawn.converged else ExitCode.NOT_MEASURED)


def _certificate(session: Session, path: Path) -> int:
    from pipelines.budget.certificate import read_certificate

    named_file(path, "certificate")
    found = read_certificate(path)
    session.answer(found.to_dict())
    if session.as_json:
        return 0
    head = f"{found.identifier}, {found.laboratory}, {found.performed}, schema {found.schema}"
    session.console.print(head, markup=False)
    for q in found.quantities:
        key = q.id or " ".join(q.types) or q.name
        size = f"{q.values[0]:.10g}" if len(q.values) == 1 else f"{len(q.values)} values, {q.values[0]:.10g} first"
        u = "no uncertainty" if q.u is None else f"u = {q.u[0]:.3g}" + ("" if q.k is None else f" (k = {q.k:g} there)")
        line = f"{key}: {size} {q.unit}, {u}" + (f"; {q.name}" if q.name else "")
        session.console.print(line, markup=False, soft_wrap=True, highlight=False)
    return 0


def _with_options(loaded: Any, trials: str | None, seed: int | None) -> Any:
    from dataclasses import replace

    changes: dict[str, Any] = {}
    if trials is not None:
        if trials != "adaptive":
            try:
                count = int(trials.replace("_", ""))
            except ValueError:
                count = 0
            if not 1000 <= count <= 20_000_000:
                raise click.BadParameter(
                    "expected 'adaptive' or a whole number from 1000 to 20000000", param_hint="--trials"
                )
            changes["trials"] = count
        else:
            changes["trials"] = trials
    if seed is not None:
        changes["seed"] = seed
    if not changes:
        return loaded
    spec = loaded.budget
    return replace(loaded, budget=spec.model_copy(update={"monte_carlo": spec.monte_carlo.model_copy(update=changes)}))


def _show(session: Session, result: BudgetResult) -> None:
    from rich.table import Table

    from pipelines.report.numbers import fixed, place

    console = session.console
    spec = result.loaded.budget
    p = spec.coverage.p
    if spec.title:
        console.print(spec.title, markup=False)
    for k, name in enumerate(spec.model):
        out = spec.outputs.get(name)
        unit = out.unit if out and out.unit else ""
        label = f", {out.label}" if out and out.label else ""
        console.print(f"\n{name} = {spec.model[name]}{label}", markup=False)
        if result.gum is not None:
            _lines(console, result.gum[name])
        u_mc = float(result.drawn.u[k])
        digits = place(u_mc)
        table = Table(box=None, pad_edge=False)
        for title in ("method", "value", "u", f"{100 * p:g} % interval", "k", "dof", "unit"):
            table.add_column(title, justify="left" if title in ("method", "unit") else "right")
        if result.gum is not None:
            row = result.gum[name]
            low, high = row.interval(p)
            at = place(row.u) if row.u > 0.0 else digits
            table.add_row(
                f"GUM, order {result.gum.order}",
                fixed(row.value, at),
                fixed(row.u, at),
                f"[{fixed(low, at)}, {fixed(high, at)}]",
                f"{row.coverage_factor(p):.2f}",
                "\u221e" if math.isinf(row.dof) else f"{row.dof:.1f}",
                unit,
            )
        low, high = result.drawn.interval(k)
        kind = f"Monte Carlo, {result.drawn.trials} trials, {spec.coverage.interval}"
        table.add_row(
            kind,
            fixed(float(result.drawn.mean[k]), digits),
            fixed(u_mc, digits),
            f"[{fixed(low, digits)}, {fixed(high, digits)}]",
            "",
            "",
            unit,
        )
        console.print(table)
        verdict = result.validations[name]
        console.print(verdict if isinstance(verdict, str) else verdict.describe(), markup=False)
    if result.gum_failure:
        console.print(f"\nGUM: {result.gum_failure}", markup=False)
    if len(spec.model) > 1:
        _vector(console, result)
    show_flags(session, result.drawn.flags)


def _lines(console: Any, row: Any) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("input", "estimate", "u", "distribution", "type", "dof", "sensitivity", "contribution", "share"):
        table.add_column(title, justify="left" if title in ("input", "distribution", "type") else "right")
    for line in sorted(row.lines, key=lambda line: -line.share):
        dof = "\u221e" if math.isinf(line.dof) else f"{line.dof:g}"
        table.add_row(
            line.name,
            f"{line.estimate:.9g}",
            f"{line.u:.3g}",
            line.distribution,
            line.kind,
            dof,
            f"{line.sensitivity:.4g}",
            f"{line.contribution:.3g}",
            f"{100.0 * line.share:.1f} %",
        )
    if row.share_nonlinear > 0.0:
        table.add_row("second order", "", "", "", "", "", "", "", f"{100.0 * row.share_nonlinear:.1f} %")
    console.print(table)


def _vector(console: Any, result: BudgetResult) -> None:
    document = result.to_dict()["vector"]
    names = list(result.loaded.budget.model)
    console.print("\ncorrelation of the outputs (Monte Carlo)", markup=False)
    for i in range(len(names)):
        for j in range(i):
            r = document["monte_carlo_correlation"][i][j]
            console.print(f"  r({names[j]}, {names[i]}) = {r:.3f}", markup=False)
    region = document["region"]
    if isinstance(region, str):
        console.print(f"coverage region: {region}", markup=False)
        return
    k = "" if region["k"] is None else f", k = {region['k']:.3f}"
    console.print(
        f"coverage region: {region['kind']} of {100 * region['p']:g} %{k}, volume {region['volume']:.4g}", markup=False
    )
