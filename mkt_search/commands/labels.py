"""`mkt labels`: a vocabulary by group, and which labels lie near each other."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.errors import QueryError
from mkt_search.terminal.options import Command, json_option
from mkt_search.terminal.output import Column, say, show_json, show_table

if TYPE_CHECKING:
    from mkt_search.types import Vector

COLUMNS = (
    Column("vectors"),
    Column("rank", is_number=True),
    Column("cosine", is_number=True),
    Column("label"),
    Column("kind"),
)

VOCABULARY_COLUMNS = (
    Column("group"),
    Column("label"),
    Column("parents"),
    Column("synonyms"),
    Column("phrases"),
)


@click.command(cls=Command)
@click.option(
    "--labels",
    "--vocabulary",
    "labels_file",
    metavar="VOCABULARY",
    required=True,
    type=click.Path(path_type=Path),
    help="File of labels, one a line, or a table with the columns label and kind, or a .toml file. "
    "Or one that ships: everyday.",
)
@click.option(
    "--near",
    metavar="LABEL",
    multiple=True,
    help="Show the labels nearest to this one; repeat it for more.",
)
@click.option(
    "--toml", "as_toml", is_flag=True, help="Print the .toml file itself, to edit a copy of it."
)
@click.option(
    "--model",
    "names",
    metavar="TEXT",
    multiple=True,
    show_default="demo, where no table is named",
    help="Checkpoint folder, or open_clip NAME/TAG or NAME/FILE; repeat it to compare.",
)
@click.option(
    "--label-table",
    "tables",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Label vectors, .npz or GloVe text; repeat it to compare.",
)
@click.option(
    "-k",
    "count",
    metavar="N",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Labels to show for each.",
)
@json_option
def labels(
    labels_file: Path,
    near: tuple[str, ...],
    as_toml: bool,
    names: tuple[str, ...],
    tables: tuple[Path, ...],
    count: int,
    as_json: bool,
) -> None:
    """List a vocabulary by group, or show the labels nearest to a label.

    With --near, labels are compared by the label vectors of models and tables. A model with a
    learned prompt is shown with it and with its plain template. If the vocabulary has kinds (a
    column "kind", or the groups of a .toml file), the share of a label's nearest ones that are of
    its kind is given too, as a mean over all labels: the precision of figure 3 of the paper.

    \b
    Examples:
      mkt labels --vocabulary everyday
      mkt labels --vocabulary everyday --toml > my-labels.toml
      mkt labels --labels labels.csv --near dog --model student --label-table glove.txt
    """
    from mkt_search.evaluation.nearest_labels import nearest_labels, precision_of_kinds
    from mkt_search.models.vocabulary import read_kinds, read_vocabulary
    from mkt_search.spelling import distinct_labels

    if not near:
        if names or tables:
            raise click.UsageError(
                "--model and --label-table compare labels; name one with --near."
            )
        _show_vocabulary(labels_file, as_toml=as_toml, as_json=as_json)
        return
    if as_toml:
        raise click.UsageError("--toml prints a vocabulary; leave out --near.")
    kinds = read_kinds(labels_file)
    words = distinct_labels([*read_vocabulary(labels_file), *near])
    asked = distinct_labels(near)
    found = []
    for title, known, vectors in _vectors(words, names, tables):
        missing = [label for label in asked if label not in known]
        if missing:
            say(f"{title} has no vector for {', '.join(missing)}")
        precision = precision_of_kinds(known, vectors, kinds, count=count)
        found.append(
            {
                "vectors": title,
                "labels": len(known),
                "precision": None if math.isnan(precision) else precision,
                "near": {
                    label: nearest_labels(label, known, vectors, count=count)
                    for label in asked
                    if label in known
                },
            }
        )
    if as_json:
        show_json([_as_data(part) for part in found])
        return
    show_table(COLUMNS, (row for part in found for row in _rows(part, kinds)))
    for part in found:
        if part["precision"] is not None:
            share = f"{part['precision']:.3f} of the {count} nearest labels are of a label's kind"
            say(f"{part['vectors']}: {share}")


def _show_vocabulary(name: Path, *, as_toml: bool, as_json: bool) -> None:
    from mkt_search.display import count_noun
    from mkt_search.files import read_text
    from mkt_search.models.vocabulary import (
        MAX_VOCABULARY,
        TABLES,
        read_kinds,
        read_vocabulary,
        vocabulary_file,
    )
    from mkt_search.spelling import label_key
    from mkt_search.types import LEVEL

    vocabulary, groups = read_vocabulary(name), read_kinds(name)
    if as_toml:
        if as_json:
            raise click.UsageError("--toml and --json exclude each other; give one of them.")
        file = vocabulary_file(name)
        if file.suffix.lower() != TABLES:
            raise click.UsageError(f"--toml prints a vocabulary that is a {TABLES} file.")
        click.echo(read_text(file, QueryError, at_most=MAX_VOCABULARY), nl=False)
        return
    order = {group: place for place, group in enumerate(dict.fromkeys(groups.values()))}
    labels = sorted(vocabulary, key=lambda label: order.get(groups.get(label, ""), len(order)))
    about = vocabulary.about
    found: list[dict[str, Any]] = [
        {
            "group": groups.get(label, ""),
            "label": label,
            "parents": about.ancestors(label),
            "synonyms": about.synonyms.get(label_key(label), ()),
            "phrases": [text for text in about.texts(label) if text != label],
        }
        for label in labels
    ]
    if as_json:
        show_json(found)
        return
    show_table(
        VOCABULARY_COLUMNS,
        (
            (
                one["group"],
                one["label"],
                LEVEL.join(one["parents"]),
                ", ".join(one["synonyms"]),
                "; ".join(one["phrases"]),
            )
            for one in found
        ),
    )
    parts = [count_noun(len(labels), "label")]
    if order:
        parts.append(f"in {count_noun(len(order), 'group')}")
    say(" ".join(parts))


def _vectors(
    words: Sequence[str], names: Sequence[str], tables: Sequence[Path]
) -> "Iterator[tuple[str, list[str], Vector]]":
    """Yield a title, the labels that it knows, and their vectors (L, D), for each kind of vector.

    Raises:
        QueryError: one of them knows none of the labels.
    """
    from mkt_search.evaluation.evaluate import label_vectors, titles
    from mkt_search.models.build import DEMO, open_model
    from mkt_search.models.label_table import LabelTable

    models = [open_model(name) for name in names or (() if tables else (DEMO,))]
    for model, title in zip(models, titles(models), strict=True):
        encoder = model.label_encoder()
        if isinstance(encoder, LabelTable):
            yield _looked_up(encoder, words, title)
            continue
        for prompt, vectors in label_vectors(model, words).items():
            yield f"{title}, {prompt}", list(words), vectors
    for path in tables:
        yield _looked_up(LabelTable.read(path), words, path.name)


def _looked_up(table: Any, words: Sequence[str], title: str) -> "tuple[str, list[str], Vector]":
    known = [word for word in words if word in table]
    if not known:
        raise QueryError(f"{title} knows none of the {len(words):,} labels; name another table.")
    if len(known) < len(words):
        say(f"{title} knows {len(known):,} of the {len(words):,} labels")
    return title, known, table.encode(known)


def _rows(part: Mapping[str, Any], kinds: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    for label, nearest in part["near"].items():
        yield part["vectors"], "", "", label, kinds.get(label, "")
        for rank, (name, cosine) in enumerate(nearest, start=1):
            yield part["vectors"], str(rank), f"{cosine:.4f}", name, kinds.get(name, "")


def _as_data(part: Mapping[str, Any]) -> dict[str, Any]:
    near = {
        label: [{"label": name, "cosine": cosine} for name, cosine in nearest]
        for label, nearest in part["near"].items()
    }
    return {**part, "near": near}
