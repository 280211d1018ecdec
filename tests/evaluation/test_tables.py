"""Tables of metrics in Markdown."""

from mkt_search.evaluation.tables import Table, as_cell

TABLE = Table(
    ("model", "mAP", "F1"),
    (("a|b", "0.5000", "–"), ("<c>", "0.7500", "0.1000")),
    text_columns=1,
)


def test_measures_have_four_decimals_and_none_is_a_dash() -> None:
    assert as_cell(0.12345) == "0.1235" and as_cell(float("nan")) == "–"


def test_the_best_of_each_column_is_where_numbers_differ() -> None:
    assert TABLE.best() == {(1, 1)}


def test_markdown_marks_the_best_and_keeps_bars_out_of_cells() -> None:
    assert TABLE.markdown().splitlines() == [
        "| model | mAP | F1 |",
        "|---|--:|--:|",
        "| a\\|b | 0.5000 | – |",
        "| <c> | **0.7500** | 0.1000 |",
    ]


def test_a_table_without_rows_is_a_heading() -> None:
    empty = Table(("model",), (), text_columns=1)
    assert empty.best() == set() and empty.markdown().count("\n") == 1
