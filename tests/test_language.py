"""Plain English: phrases and names that were retired stay retired.

Only wording that misleads a reader is listed, never an ordinary word: "seen label" is a term.
"""

import io
import re
import subprocess
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).relative_to(ROOT).as_posix()

# Archaic or translated phrases; in comments, docstrings, messages, help and documents.
PHRASES = (
    r"anew",
    r"one and all",
    r"nobody's",
    r"(?:is|are|was|were|be|been|being) told(?! apart)",
    r"told (?:of|by|that|what|which|how|why)",
    r"tells? nobody",
    r"hears? (?:of|from|what|how|after)",
    r"learns? how (?:far|many|much)",
    r"lets? go of",
    r"let go",
    r"stands? (?:still|aside|beside|here|there|in the (?:way|place|catalog|database|journal))",
    r"(?:can|may) (?:also )?stand in",
    r"goes? on (?:with|from|after|where|as)",
    r"mended",
    r"has to say",
    r"what there is of",
    r"said so",
    r"of before",
    r"beforehand",
    r"by itself alone",
    r"is asked after",
    r"none of ours",
    r"takes? (?:its|his) turn",
    r"whose? turn",
    r"hands? on to",
    r"speaks? for",
    r"known to the (?:house|roof)",
    r"worth a thread",
    r"it is surely",
    r"surely no",
    r"so many (?:photos|labels|vectors|pixels|threads|files|tags)",
    r"as many as (?:that|those) takes?",
    r"also one nobody",
    r"no others?",
    r"makes? no sense",
)
# Identifiers of the old vocabulary.
IDENTIFIERS = (
    *("told", "Told", "silent", "steps_of", "is_told", "taught", "Taught", "is_retold"),
    *("Moment", "VectorIndex", "Sketch", "sketch", "Generation", "generation", "generations"),
    *("fold", "unfold", "stretches", "Spool", "spool", "Picks", "picks", "Curve"),
    *("Probes", "RootPlace", "place_of", "let_go", "_let_go", "take_back", "forget", "bump"),
    *("reaches", "settle", "settled", "Asked", "SETTLED", "Verdict", "Survey", "judge"),
    *("Judged", "story", "Story", "goals", "evidence", "put_on_axes", "AxesHead", "start_heads"),
    *("FEW", "MANY", "LEAST", "ENOUGH", "OF_ONE", "TOGETHER", "AT_ONCE", "SPARE", "NOBODY"),
    *("ONWARD", "RIDER", "EVERY", "Way", "global_", "locals_"),
    *("never", "look", "step_back", "Say", "Slots", "slots"),
)
NOT_OURS: dict[str, tuple[str, ...]] = {}


def tracked(*patterns: str) -> list[Path]:
    found = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


TEXTS = [p for p in tracked("*.py", "*.md", "*.toml", "*.html") if name_of(p) != HERE]
SOURCES = [p for p in TEXTS if p.suffix == ".py" and not name_of(p).startswith("migrations/")]
IDENTIFIER = re.compile(r"\b(?:" + "|".join(IDENTIFIERS) + r")\b")
PHRASE = re.compile(r"\b(?:" + "|".join(PHRASES) + r")\b", re.IGNORECASE)


def retired_phrases(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        f"{name_of(path)}:{number}: {match.group()}"
        for number, line in enumerate(lines, start=1)
        for match in PHRASE.finditer(line)
    ]


def retired_names(path: Path) -> list[str]:
    found: list[str] = []
    text = path.read_text(encoding="utf-8")
    if not IDENTIFIER.search(text):  # most files; tokenizing all of them takes 20 s
        return found
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string in IDENTIFIERS:
            if not name_of(path).startswith(NOT_OURS.get(token.string, ("/",))):
                found.append(f"{name_of(path)}:{token.start[0]}: {token.string}")
    return found


def test_no_retired_phrase_is_written() -> None:
    assert not [found for path in TEXTS for found in retired_phrases(path)]


def test_no_retired_name_is_used() -> None:
    assert not [found for path in SOURCES for found in retired_names(path)]


if __name__ == "__main__":  # what is left: python tests/test_language.py [FOLDER]
    import sys

    for path in TEXTS:
        if name_of(path).startswith(tuple(sys.argv[1:]) or ("",)):
            print(
                *retired_phrases(path), *(retired_names(path) if path in SOURCES else ()), sep="\n"
            )
