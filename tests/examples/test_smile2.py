"""The recipe for a real SEM image: no certified value exists, so two independent estimates stand beside ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.recipe import load_recipe
from pipelines.run import run_recipe
from pipelines.store import RunFolder
from wafer.readers import read_image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def lines(data_root: Path) -> Path:
    path = data_root / "wafer" / "smile2_sem" / "lines" / "Test01.tif"
    if not path.is_file():
        pytest.skip("the SEM images are not among the shared data")
    return path


@pytest.fixture(scope="module")
def record(lines: Path, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    out = tmp_path_factory.mktemp("sem") / "run"
    run_recipe(EXAMPLES / "smile2_lines.yaml", data_root=lines.parent, out=out, report=False)
    folder = RunFolder(out)
    return folder.read_record(folder.outcomes()[0].task_id)


def test_pitch_agrees_with_the_spectrum_of_the_image(lines: Path, record) -> None:  # type: ignore[no-untyped-def]
    values = {m["name"]: m for m in record.document["measurements"]}
    profile = read_image(lines, pixel=0.827009).pixels[:889].mean(axis=0)
    # no window: it would weigh the middle of the field, where the local pitch of this microscope is 0.2 % smaller
    fine = np.abs(np.fft.rfft(profile - profile.mean(), 1 << 20))
    low = int((1 << 20) * 0.827009 / 40.0)  # lines of 40 nm pitch and finer
    peak = low + int(np.argmax(fine[low : int((1 << 20) * 0.827009 / 18.0)]))
    pitch = (1 << 20) * 0.827009 / peak
    # the ends of 41 lines leak into the peak by up to 1 / (2 pi 41) of a line in 41: 1e-4; the rest is non-linearity
    assert values["pitch"]["value"] == pytest.approx(pitch, rel=2e-3)
    # a prototype elsewhere found 25.540 nm; both use the same pixel size
    assert values["pitch"]["value"] == pytest.approx(25.540, abs=0.03)


def test_line_and_space_make_a_pitch(record) -> None:  # type: ignore[no-untyped-def]
    values = {m["name"]: m["value"] for m in record.document["measurements"]}
    # the numbers of complete lines and spaces differ by one at most
    assert values["CD"] + values["space"] == pytest.approx(values["pitch"], rel=0.01)


def test_roughness_is_near_what_others_found(record) -> None:  # type: ignore[no-untyped-def]
    values = {m["name"]: m["value"] for m in record.document["measurements"]}
    # biased 3 sigma LWR of a prototype: 3.14 nm; another edge finder has another noise
    assert values["LWR (biased, 3 s)"] == pytest.approx(3.14, rel=0.25)


def test_the_recipe_is_valid_and_the_record_holds_the_edges(record) -> None:  # type: ignore[no-untyped-def]
    assert load_recipe(EXAMPLES / "smile2_lines.yaml").recipe.name == "SMILE2 lines"
    assert record.document["views"][0]["kind"] == "sem_edges"
    assert record.arrays["sem/edges"].shape[0] >= 70  # 41 lines fit into the field
