"""Simulated bridges and breaks of lines, and what the measurement says of them."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core.data import Image
from metrology_core.errors import ParameterError
from wafer import measure_sem_lines
from wafer.simulate import LineDefect, SemModel, simulate_lines

BRIDGE, BREAK = LineDefect(2, 100.0, 14.0), LineDefect(5, 250.0, 16.0)


def test_bridge_and_break_have_the_grey_of_what_they_are_and_leave_the_rest() -> None:
    quiet = SemModel(electrons_per_grey=float("inf"), read_noise=0.0, bits=16, sigma=0.5)
    plain = simulate_lines(quiet, seed=21)
    drawn = simulate_lines(quiet, seed=21, bridges=(BRIDGE,), breaks=(BREAK,))
    assert drawn.truth["bridges"] == [
        {"line": 2, "first_row": pytest.approx(116.25), "last_row": pytest.approx(133.75)}
    ]
    complete = np.flatnonzero((drawn.left.min(axis=1) >= 0) & (drawn.right.max(axis=1) <= 511))
    k, b = complete[2], complete[5]
    row = 125  # the middle of the bridge
    space = round(0.5 * (drawn.right[k, row] + drawn.left[k + 1, row]))
    assert drawn.pixels[row, space] == pytest.approx(quiet.line_level, abs=1.0)
    row = round(BREAK.y / 0.8)
    line = round(0.5 * (drawn.left[b, row] + drawn.right[b, row]))
    assert drawn.pixels[row, line] == pytest.approx(quiet.space_level, abs=1.0)
    # half way up where the bridge ends: its beam is symmetric
    edge = drawn.pixels[[116, 117], space].astype(float)
    ground = plain.pixels[[116, 117], space].astype(float)
    assert np.interp(116.25, [116, 117], edge - ground) == pytest.approx(0.5 * (quiet.line_level - ground[0]), abs=2.0)
    changed = drawn.pixels != plain.pixels
    # nothing else changes: six blurs (12 px) beside the ends, and the blooms of the broken line to the next middles
    changed[104:147, round(drawn.left[k].min()) : round(drawn.right[k + 1].max())] = False
    changed[290:335, round(drawn.left[b].min()) - 16 : round(drawn.right[b].max()) + 16] = False
    assert not changed.any()


def test_both_are_found_in_noise_and_counted_by_rows() -> None:
    drawn = simulate_lines(seed=22, bridges=(BRIDGE,), breaks=(BREAK,))
    result = measure_sem_lines(Image(drawn.pixels, "nm", drawn.model.pixel))
    assert {"merged_lines", "broken_lines"} <= set(result.flags)
    lost = result.details["lost"]
    # the rows at half height, for both edges; blur and the least number of rows that are averaged move them by a few
    assert lost["merged"] == pytest.approx(2 * 17.5, abs=8)
    assert lost["broken"] == pytest.approx(2 * 20.0, abs=8)
    hit = [row["line"] for row in result.per_line if row["lost"]]
    assert hit == [2, 3, 5]
    plain = simulate_lines(seed=22)
    clean = measure_sem_lines(Image(plain.pixels, "nm", plain.model.pixel))
    for name in ("sem.pitch", "sem.cd_line", "sem.cd_space"):
        a, b = result.measurements[name], clean.measurements[name]
        assert abs(a.value - b.value) < 0.5 * b.u  # three lines lose 4 % of their rows


def test_defects_of_lines_that_are_not_there_are_refused() -> None:
    with pytest.raises(ParameterError, match="complete line, 0 to 11"):
        simulate_lines(seed=1, breaks=(LineDefect(13, 10.0, 5.0),))
    with pytest.raises(ParameterError, match="0 to 10"):
        simulate_lines(seed=1, bridges=(LineDefect(12, 10.0, 5.0),))
    with pytest.raises(ParameterError, match="length"):
        simulate_lines(seed=1, bridges=(LineDefect(1, 10.0, 0.0),))
