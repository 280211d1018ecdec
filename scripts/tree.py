#!/usr/bin/env python3
"""Print the tree of README.md: every source file with the first line of its docstring."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("mkt_search", "indexer", "training", "migrations", "benchmarks", "scripts")


def first_line(file: Path) -> str:
    """Return the first sentence a Python file says of itself."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0].rstrip(".")


def tree() -> str:
    """Return the tree, a line for every folder and Python file."""
    lines = []
    for folder in FOLDERS:
        lines.append(f"{folder}/")
        for file in sorted((ROOT / folder).rglob("*.py"), key=lambda f: (f.parent, f.name)):
            name = file.relative_to(ROOT / folder).as_posix()
            if file.name == "__init__.py":
                if file.parent != ROOT / folder:
                    lines.append(f"  {name.removesuffix('__init__.py'):<26}{first_line(file)}")
            else:
                lines.append(f"  {name:<26}{first_line(file)}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tree())
