"""Methods in the terminal: every word is there, and words of several methods once."""

from pipelines.cli.sem_common import footnotes


def spelled_out(words: dict[str, str], notes: dict[str, str], name: str) -> set[str]:
    text = words[name]
    found = set()
    for mark, shared in notes.items():
        if f"[{mark}]" in text:
            text = text.replace(f" [{mark}]", "")
            found |= set(shared.split("; "))
    return found | set(text.split("; "))


def test_every_clause_is_told_and_shared_ones_once() -> None:
    methods = {
        "a": "mean of lines; edges: threshold; 896 rows",
        "b": "mean of spaces; corrected; edges: threshold; 896 rows",
        "c": "sigma; likelihood; edges: threshold; 896 rows",
        "d": "xi; likelihood; edges: threshold; 896 rows",
        "e": "alone",
    }
    words, notes = footnotes(methods)
    assert words == {
        "a": "mean of lines [1]",
        "b": "mean of spaces; corrected [1]",
        "c": "sigma [1] [2]",
        "d": "xi [1] [2]",
        "e": "alone",
    }
    assert notes == {"1": "edges: threshold; 896 rows", "2": "likelihood"}
    for name, text in methods.items():
        assert spelled_out(words, notes, name) == set(text.split("; "))


def test_one_method_or_none_has_no_notes() -> None:
    assert footnotes({"a": "mean; of rows; of all"}) == ({"a": "mean; of rows; of all"}, {})
    assert footnotes({}) == ({}, {})


def test_the_first_clause_stays_even_where_it_is_shared() -> None:
    words, notes = footnotes({"a": "mean; x", "b": "mean; x"})
    assert words == {"a": "mean [1]", "b": "mean [1]"}
    assert notes == {"1": "x"}
