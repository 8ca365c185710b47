"""Methods with notes: every word is there, and words of several methods once."""

from pipelines.footnotes import footnotes

METHODS = {
    "a": "mean of lines; edges: threshold; 896 rows",
    "b": "mean of spaces; corrected; edges: threshold; 896 rows",
    "c": "sigma; likelihood; edges: threshold; 896 rows",
    "d": "xi; likelihood; edges: threshold; 896 rows",
    "e": "alone",
}


def test_every_clause_is_told_and_shared_ones_once() -> None:
    words, notes = footnotes(METHODS)
    assert words == {
        "a": ("mean of lines", (1,)),
        "b": ("mean of spaces; corrected", (1,)),
        "c": ("sigma", (1, 2)),
        "d": ("xi", (1, 2)),
        "e": ("alone", ()),
    }
    assert notes == {1: "edges: threshold; 896 rows", 2: "likelihood"}
    for key, text in METHODS.items():
        told = [words[key][0], *(notes[n] for n in words[key][1])]
        assert sorted("; ".join(told).split("; ")) == sorted(text.split("; "))


def test_short_clauses_stay_where_they_are() -> None:
    words, notes = footnotes(METHODS, least=9)
    assert words["a"] == ("mean of lines; 896 rows", (1,))
    assert notes == {1: "edges: threshold", 2: "likelihood"}


def test_one_method_or_none_has_no_notes() -> None:
    assert footnotes({"a": "mean; of rows; of all"}) == ({"a": ("mean; of rows; of all", ())}, {})
    assert footnotes({}) == ({}, {})


def test_the_first_clause_stays_even_where_it_is_shared() -> None:
    words, notes = footnotes({"a": "mean; x", "b": "mean; x"})
    assert words == {"a": ("mean", (1,)), "b": ("mean", (1,))}
    assert notes == {1: "x"}


def test_a_semicolon_in_brackets_does_not_end_a_clause() -> None:
    words, notes = footnotes(
        {"a": "x; datum system A (flange; least squares)", "b": "y; datum system A (flange; least squares)"}
    )
    assert words == {"a": ("x", (1,)), "b": ("y", (1,))}
    assert notes == {1: "datum system A (flange; least squares)"}
