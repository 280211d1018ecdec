"""Fill in the HTML templates of this folder, every value escaped, and write pages."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mkt_search.errors import StoreError


def render(template: str, **values: Any) -> str:
    """Return a template of `templates/` filled in; a value that is missing is an error."""
    return _environment().get_template(template).render(**values)


def write(file: Path, text: str) -> None:
    """Write a page; replace the file if it exists. Raises StoreError if it cannot be written."""
    try:
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as problem:
        raise StoreError(f"{file}: cannot be written ({problem.strerror}).") from None


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
