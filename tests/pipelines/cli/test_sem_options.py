"""Options of ``abbe sem``: what does not belong together is refused, and errors name the option."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli.entry import main
from wafer.simulate import simulate_lines

tifffile = pytest.importorskip("tifffile")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("options") / "lines.tif"
    tifffile.imwrite(path, np.asarray(simulate_lines(seed=905, shape=(128, 200)).pixels))
    return str(path)


@pytest.mark.parametrize(
    ("command", "options", "code", "said"),
    [
        ("lines", ["--criterion", "max_gradient", "--level", "30%"], 2, "--level belongs to criteria threshold and"),
        ("contacts", ["--criterion", "model", "--level", "30%"], 2, "--level belongs to criterion threshold"),
        ("contours", ["--criterion", "model", "--level", "30%"], 2, "--level belongs to criterion threshold"),
        ("lines", ["--level", "0.5"], 2, "--level: '0.5' has no unit; expected a ratio such as '50 %'"),
        ("lines", ["--pixel-u", "0.5"], 2, "--pixel-u: '0.5' has no unit; expected a ratio such as '0.5 %'"),
        ("lines", ["--pixel-u", "-1 %"], 2, "--pixel-u is negative; expected a ratio such as '0.5 %'; got -1 %"),
        ("contours", ["--origin", "100,0"], 2, "--origin: '100' has no unit; expected a length such as 12.4um"),
        ("contours", ["--origin", "100nm"], 2, "--origin is a place X,Y"),
        ("contours", ["--search", "20"], 2, "--search: '20' has no unit"),
        ("lines", ["--orientation", "horizontal"], 3, "leave orientation: horizontal (--orientation horizontal) out"),
    ],
)  # fmt: skip
def test_errors_name_the_option(
    picture: str, command: str, options: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sem", command, picture, "--pixel", "0.8nm", *options, "--json"]) == code
    out = capsys.readouterr()
    assert said in json.loads(out.out or out.err)["error"]["message"]


@pytest.mark.parametrize("command", ["lines", "contacts", "contours"])
def test_without_a_pixel_size_the_option_is_named(
    picture: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sem", command, picture]) == 2
    assert "--pixel on the command line" in capsys.readouterr().err
    assert main(["sem", command, picture, "--pixel-u", "1 %"]) == 2
    assert "--pixel-u needs --pixel" in capsys.readouterr().err


def test_lines_take_the_pixel_size_of_the_file(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = data_root / "wafer" / "smile2_sem" / "lines" / "Test01.tif"
    if not image.is_file():
        pytest.skip("the image is not here")
    pitch = []
    for pixel in ([], ["--pixel", "0.827nm"]):
        main(["sem", "lines", str(image), "--rows", "0:256", *pixel, "--json"])
        answer = json.loads(capsys.readouterr().out)
        assert ("pixel_size_from_file" in answer["flags"]) == (not pixel)
        pitch.append(answer["measurements"]["sem.pitch"]["value"])
    # the file says 0.827009 nm: 1.1e-5 more than the rounded size that its makers state
    assert pitch[0] == pytest.approx(pitch[1], rel=2e-5)


def test_an_odd_frame_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [np.asarray(simulate_lines(seed=k, shape=(128, 128)).pixels) for k in (911, 912, 913)]
    small = frames[1][:, :100]

    def said(*pages: np.ndarray, planar: bool = False) -> str:
        path = tmp_path / "stack.tif"
        with tifffile.TiffWriter(path) as file:
            if planar:
                file.write(np.stack(pages), photometric="rgb", planarconfig="separate")
            for page in () if planar else pages:
                file.write(page, photometric="minisblack")
        assert main(["sem", "lines", str(path), "--pixel", "0.8nm", "--frames"]) in (2, 3)
        return " ".join(capsys.readouterr().err.split())

    assert "frame 1: 128 x 128 pixels, frame 2: 100 x 128" in said(frames[0], small)
    assert "frame 3: the lines run along the rows" in said(frames[0], frames[1], frames[2].T)
    assert "got: 1 in stack.tif" in said(frames[0])
    assert "store each frame as a page" in said(*frames, planar=True)


@pytest.mark.parametrize(
    ("command", "option", "name", "said"),
    [
        ("lines", "--picture", "look.png", "a name that ends with .svg"),
        ("contacts", "--picture", "look.png", "a name that ends with .svg"),
        ("lines", "--picture", "none/look.svg", "there is no folder"),
        ("contacts", "--contours", "none/all.csv", "there is no folder"),
        ("match", "--pairs", "none/all.csv", "there is no folder"),
    ],
)
def test_files_that_cannot_be_written_are_refused_first(
    picture: str, command: str, option: str, name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [picture] * (2 if command == "match" else 1)
    assert main(["sem", command, *images, "--pixel", "0.8nm", option, str(tmp_path / name)]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())
