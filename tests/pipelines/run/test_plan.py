"""The plan: what becomes a task, what is refused, and that its bytes depend on content alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from metrology_core.errors import IntegrityError, UsageError
from pipelines.plan import Plan, build_plan, changed_inputs, difference
from pipelines.recipe import load_recipe
from tests.pipelines.run.lot import GOOD, RECIPE, good_lot, make_lot


def plan_of(recipe: Path, *args: object, **options: object) -> Plan:
    return build_plan(load_recipe(recipe), *args, **options)  # type: ignore[arg-type]


def test_tasks_are_sorted_and_named_by_path(tmp_path: Path) -> None:
    plan = plan_of(good_lot(tmp_path))
    assert [task.part for task in plan.tasks] == ["parts/p0.csv", "parts/p1.csv", "parts/p2.csv"]
    assert [ref.path for task in plan.tasks for ref in task.inputs] == [task.part for task in plan.tasks]


def test_the_plan_is_the_same_in_another_place(tmp_path: Path) -> None:
    plan = plan_of(good_lot(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert plan_of(tmp_path / "b" / "recipe.yaml").to_bytes() == plan.to_bytes()
    assert Plan.from_bytes(plan.to_bytes()) == plan


def test_identical_files_of_two_names_are_two_tasks(tmp_path: Path) -> None:
    plan = plan_of(make_lot(tmp_path, {"a": GOOD, "b": GOOD}))
    assert len({task.id for task in plan.tasks}) == 2
    assert len({task.inputs[0].sha256 for task in plan.tasks}) == 1


def test_content_seed_and_recipe_change_the_task_id(tmp_path: Path) -> None:
    recipe = make_lot(tmp_path, {"a": GOOD})
    (first,) = plan_of(recipe).tasks
    recipe.write_text(RECIPE.replace("seed: 5", "seed: 6"))
    (second,) = plan_of(recipe).tasks
    recipe.write_text(RECIPE)
    (tmp_path / "parts" / "a.csv").write_text(GOOD + "10\n")
    (third,) = plan_of(recipe).tasks
    assert len({first.id, second.id, third.id}) == 3


def test_parts_from_names_and_explicit_parts(tmp_path: Path) -> None:
    text = RECIPE.replace(
        "unit: mm", 'unit: mm, acquisition: {lot: L1}, acquisition_from_name: "(?P<part>p[0-9])_s(?P<serial>[0-9]+)"'
    )
    plan = plan_of(make_lot(tmp_path, {"p1_s07": GOOD, "p2_s08": GOOD}, text))
    assert [dict(task.acquisition) for task in plan.tasks] == [
        {"lot": "L1", "part": "p1", "serial": "07"},
        {"lot": "L1", "part": "p2", "serial": "08"},
    ]
    explicit = RECIPE.replace('"parts/*.csv"', '{file: parts/x.csv, part: A-1}, "parts/y*.csv"')
    plan = plan_of(make_lot(tmp_path / "2", {"x": GOOD, "y1": GOOD}, explicit))
    assert [task.part for task in plan.tasks] == ["A-1", "parts/y1.csv"]


def test_two_files_of_one_part_are_refused(tmp_path: Path) -> None:
    text = RECIPE.replace("unit: mm", 'unit: mm, acquisition_from_name: "(?P<part>p)"')
    with pytest.raises(UsageError, match="two files claim part 'p'"):
        plan_of(make_lot(tmp_path, {"p1": GOOD, "p2": GOOD}, text))


def test_a_name_that_does_not_match_is_a_problem_of_that_part(tmp_path: Path) -> None:
    text = RECIPE.replace("unit: mm", 'unit: mm, acquisition_from_name: "p(?P<serial>[0-9]+)"')
    plan = plan_of(make_lot(tmp_path, {"p1": GOOD, "odd": GOOD}, text))
    assert [None if task.problem is None else task.problem["code"] for task in plan.tasks] == [
        "acquisition_from_name",
        None,
    ]


def test_links_out_of_the_root_are_refused(tmp_path: Path) -> None:
    recipe = make_lot(tmp_path / "lot", {"a": GOOD})
    (tmp_path / "secret.csv").write_text(GOOD)
    (tmp_path / "lot" / "parts" / "link.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(UsageError, match="outside the data root"):
        plan_of(recipe)


def test_a_linked_folder_out_of_the_root_is_refused(tmp_path: Path) -> None:
    recipe = make_lot(tmp_path / "lot", {"a": GOOD}, RECIPE.replace("parts/*.csv", "*/*.csv"))
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "b.csv").write_text(GOOD)
    (tmp_path / "lot" / "near").symlink_to(tmp_path / "far")
    with pytest.raises(UsageError, match="outside the data root"):
        plan_of(recipe)


@pytest.mark.parametrize("given", ["../secret.csv", "SECRET"])
def test_inputs_out_of_the_root_are_refused(tmp_path: Path, given: str) -> None:
    recipe = make_lot(tmp_path / "lot", {"a": GOOD})
    secret = tmp_path / "secret.csv"
    secret.write_text(GOOD)
    with pytest.raises(UsageError, match="outside the data root"):
        plan_of(recipe, None, [str(secret) if given == "SECRET" else given])


def test_links_inside_the_root_are_inputs(tmp_path: Path) -> None:
    recipe = make_lot(tmp_path, {"a": GOOD})
    (tmp_path / "parts" / "b.csv").symlink_to(tmp_path / "parts" / "a.csv")
    assert [task.part for task in plan_of(recipe).tasks] == ["parts/a.csv", "parts/b.csv"]


def test_inputs_override_patterns(tmp_path: Path) -> None:
    recipe = good_lot(tmp_path)
    plan = plan_of(recipe, None, ["parts/p1.csv", tmp_path / "parts" / "p1.csv"])
    assert [task.part for task in plan.tasks] == ["parts/p1.csv"]


@pytest.mark.parametrize("given", ["gone.csv", "parts"])
def test_inputs_must_be_files(tmp_path: Path, given: str) -> None:
    with pytest.raises(UsageError, match=given):
        plan_of(good_lot(tmp_path), None, [given])


def test_the_data_root_may_be_elsewhere(tmp_path: Path) -> None:
    recipe = good_lot(tmp_path / "lot")
    (tmp_path / "other" / "parts").mkdir(parents=True)
    (tmp_path / "other" / "parts" / "z.csv").write_text(GOOD)
    assert [task.part for task in plan_of(recipe, tmp_path / "other").tasks] == ["parts/z.csv"]


def test_a_pattern_without_files_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file matches"):
        plan_of(make_lot(tmp_path, {}))


def test_hidden_files_and_the_run_itself_are_not_inputs(tmp_path: Path) -> None:
    recipe = make_lot(tmp_path, {"a": GOOD, ".hidden": GOOD}, RECIPE.replace("parts/*.csv", "**/*.csv"))
    (tmp_path / "run" / "exports").mkdir(parents=True)
    (tmp_path / "run" / "exports" / "measurements.csv").write_text("x")
    plan = plan_of(recipe, None, (), exclude=tmp_path / "run")
    assert [task.part for task in plan.tasks] == ["parts/a.csv"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_not_read(tmp_path: Path) -> None:
    recipe = make_lot(tmp_path, {"a": GOOD})
    os.mkfifo(tmp_path / "parts" / "pipe.csv")  # opening it would wait for ever
    assert [task.part for task in plan_of(recipe).tasks] == ["parts/a.csv"]


def test_a_file_that_cannot_be_read_is_a_problem_of_that_part(tmp_path: Path) -> None:
    recipe = make_lot(tmp_path, {"a": GOOD})
    (tmp_path / "parts" / "b.csv").symlink_to(tmp_path / "parts" / "gone.csv")  # root may read anything: a dead link
    good, bad = plan_of(recipe).tasks
    assert good.problem is None
    assert bad.problem is not None and bad.problem["code"] == "unreadable"
    assert bad.inputs[0].sha256 is None


def test_what_changed_is_told_in_words(tmp_path: Path) -> None:
    recipe = good_lot(tmp_path)
    old = plan_of(recipe)
    assert difference(old, old) == []
    (tmp_path / "parts" / "p0.csv").write_text("11\n")
    (tmp_path / "parts" / "p1.csv").unlink()
    (tmp_path / "parts" / "p9.csv").write_text(GOOD)
    recipe.write_text(RECIPE.replace("plus_minus: 10 um", "plus_minus: 11 um"))
    told = "\n".join(difference(old, plan_of(recipe)))
    assert "the recipe changed" in told and "recipe key 'measure' differs" in told
    assert "inputs added: parts/p9.csv" in told and "p1" not in told and "p0" not in told
    assert changed_inputs(old, plan_of(recipe)) == {
        "parts/p0.csv": "parts/p0.csv has other content", "parts/p1.csv": "parts/p1.csv is gone"
    }  # fmt: skip


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"schema":"abbe/plan/9"}'])
def test_a_damaged_plan_is_an_integrity_error(damage: bytes) -> None:
    with pytest.raises(IntegrityError):
        Plan.from_bytes(damage)
