"""Flags come from one registry; errors keep their parts, also through a worker's pickle; canonical JSON is one form."""

from __future__ import annotations

import math
import pickle

import pytest

from metrology_core import flags
from metrology_core.canonical import canonical_json, sha256_json
from metrology_core.conformity import DecisionRule, Tolerance, decide
from metrology_core.errors import AbbeError, ParameterError, ReaderError, RecipeError, UsageError
from metrology_core.measurement import Measurement, worst_verdict
from metrology_core.quantity import Influence, Measured


def test_every_flag_has_a_meaning_and_a_remedy() -> None:
    for name, row in flags.FLAGS.items():
        assert name == row.name
        assert name.islower()
        assert " " not in name
        assert row.summary.endswith(".")
        assert row.remedy.endswith(".")


def test_merging_sorts_checks_and_ranks() -> None:
    assert flags.merge(("tilted",), ["saturated", "tilted"]) == ("saturated", "tilted")
    assert flags.worst(("tilted", "degenerate", "saturated")) == "invalid"
    assert flags.worst(()) is None
    with pytest.raises(UsageError, match="unknown flag"):
        flags.merge(("no_such_flag",))


def test_errors_say_all_and_survive_pickling() -> None:
    error = ReaderError("not a PLY file", path="a.ply", place="byte 0", expected="'ply'", got="'PK'", remedy="unzip it")
    assert str(error) == "not a PLY file; at a.ply, byte 0; expected 'ply'; got 'PK'; unzip it"
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is ReaderError
    assert back.to_dict() == error.to_dict()
    assert (back.path, back.place) == ("a.ply", "byte 0")
    recipe = RecipeError("unknown key", file="r.yaml", line=3, column=5, excerpt="  los: 1")
    assert pickle.loads(pickle.dumps(recipe)).to_dict()["line"] == 3
    assert isinstance(recipe, ValueError)
    assert isinstance(recipe, AbbeError)


def test_canonical_json_is_one_form() -> None:
    assert canonical_json({"b": 1, "a": [0.1, "µ"]}) == '{"a":[0.1,"µ"],"b":1}'.encode()
    assert sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})
    for wrong in ({"x": math.nan}, {"x": math.inf}, {"x": object()}):
        with pytest.raises(ParameterError, match="canonical"):
            canonical_json(wrong)


def measured(value: float) -> Measured:
    return Measured(value, "mm", {"u": 1e-3}, {"u": Influence("u", "all", "A", 9)})


def test_a_measurement_has_a_value_or_a_reason() -> None:
    with pytest.raises(ParameterError, match="no reason"):
        Measurement("d", "iso14405.GG", "diameter", "mm", None, flags=("tilted",))
    empty = Measurement("d", "iso14405.GG", "diameter", "mm", None, flags=("not_evaluated",))
    document = empty.to_dict()
    assert document["value"] is None
    assert document["budget"] == []
    canonical_json(document)


def test_the_document_of_a_measurement_is_whole_and_unrounded() -> None:
    m, limits = measured(20.001234567), Tolerance(19.99, 20.01, "mm")
    decision = decide(m, limits, DecisionRule.iso14253())
    row = Measurement("d", "iso14405.GG", "diameter", "mm", m, 20.0, limits, decision, "least squares", (), ("ab",))
    document = row.to_dict()
    assert document["value"] == 20.001234567
    assert document["deviation"] == 20.001234567 - 20.0
    assert document["U"] == 2.0 * m.u
    assert document["text"] == "20.0012(10) mm"
    assert document["decision"]["verdict"] == "conforming"
    assert document["dof"] == 9.0
    canonical_json(document)


def test_the_worst_verdict_speaks_for_the_part() -> None:
    assert worst_verdict(["conforming", "indeterminate", "nonconforming"]) == "nonconforming"
    assert worst_verdict(["conforming", "indeterminate"]) == "indeterminate"
    assert worst_verdict(["none", "conforming"]) == "conforming"
    assert worst_verdict([]) == "none"
