"""What a benchmark saves, and how the documents show it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).parent.parent


Render = Callable[[str, Path], str]


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> Render:
    """The function of scripts/benchmark_tables that fills in a document."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    function: Render = run_path(str(ROOT / "scripts" / "benchmark_tables"))["rendered"]
    return function


@pytest.fixture
def folder(rendered: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of a run of `search.py` that measured two methods."""
    import results

    path = tmp_path / "search.json"
    line = ["/anywhere/benchmarks/search.py", "--json", str(path), "--photos", "5000"]
    monkeypatch.setattr(sys, "argv", line)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = results.Results(path)
    methods = run.table("methods", {"method": "", "ms": ".1f", "MB": ",.0f", "recall": ".4f"})
    methods.row("exact scan", 67.6543219, 1819, 1.0)
    methods.row("candidates", 12.0, None, 0.99)
    run.fact("share found", 0.98765, ".1%")
    run.save()
    return tmp_path


def test_run_is_saved_with_its_command_and_its_numbers(folder: Path) -> None:
    saved = json.loads((folder / "search.json").read_text())
    assert saved["command"].endswith("python benchmarks/search.py --photos 5000")
    assert "OMP_NUM_THREADS=1 " in saved["command"]
    assert saved["tables"]["methods"]["rows"][0] == ["exact scan", 67.6543, 1819, 1.0]
    assert saved["libraries"]["numpy"]


def test_document_shows_the_tables_figures_and_command_of_a_run(
    rendered: Render, folder: Path
) -> None:
    text = rendered(
        "<!-- table: search methods -->old<!-- end -->\n"
        "It finds <!-- fact: search share found --><!-- end --> of them.\n"
        "<!-- source: search --><!-- end -->\n",
        folder,
    )
    assert (
        "\n| method | ms | MB | recall |\n|---|--:|--:|--:|\n"
        "| exact scan | 67.7 | 1,819 | 1.0000 |\n| candidates | 12.0 |  | 0.9900 |\n"
    ) in text
    assert "found --><!-- end -->" not in text and "98.8%" in text and "old" not in text
    assert "python benchmarks/search.py --photos 5000`, 20" in text
    assert rendered(text, folder) == text


def test_results_print_as_markdown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import results

    table = results.Results().table("speeds", {"student": "", "photos/s": ".1f"})
    table.row("small", 3)
    assert capsys.readouterr().out == (
        "\nspeeds\n\n| student | photos/s |\n|---|--:|\n| small | 3.0 |\n"
    )
    with pytest.raises(ValueError, match="1 cells, 2 columns in 'speeds'"):
        table.row("large")


def test_run_that_was_not_saved_is_named_in_the_document(rendered: Render, folder: Path) -> None:
    text = rendered("<!-- table: tagging rates -->\n<!-- end -->", folder)
    assert "not measured yet: `benchmarks/run_all.sh tagging`" in text


@pytest.mark.parametrize(
    "text",
    [
        "<!-- table: search none --><!-- end -->",
        "<!-- fact: search none --><!-- end -->",
        "<!-- table: search methods --> and <!-- source: search --><!-- end -->",
        "<!-- source: search -->",
    ],
)
def test_mark_that_leads_nowhere_is_refused(rendered: Render, folder: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"has no"):
        rendered(text, folder)


def test_figure_that_is_no_number_is_saved_as_an_empty_cell(rendered: Render) -> None:
    import results

    assert results.rounded(float("nan")) is None
