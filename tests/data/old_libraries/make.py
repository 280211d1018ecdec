"""Make the archives that `tests/test_old_libraries.py` opens, with the program of their time.

The program is the one on PYTHONPATH, a checkout of an old commit, used through its command line:

    git worktree add /tmp/old 1e7cf7c
    PYTHONPATH=/tmp/old python tests/data/old_libraries/make.py schema_0001

Each archive holds photos, the checkpoint and one or more libraries; the JSON file beside it holds
what the old program printed for them. The archives in the repository were made at these commits:

    schema_0001     1e7cf7c   the last commit before migration 0002: three pooled forms
    schema_0004     7e39675   one library with everything in it, a candidate index included
    pooled_forms    7e39675   eight small libraries, one for each form of stored vectors
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner
from PIL import Image

import mkt_search
from mkt_search.cli import main
from mkt_search.models import checkpoint
from mkt_search.models.checkpoint import Meta
from mkt_search.models.label_table import LabelTable
from mkt_search.models.student import Student, create_backbone
from mkt_search.types import ImageSpec
from tests.tiny import COLOURS, colour_checkpoint, paint

HERE = Path(__file__).parent
HOME = Path("/tmp/ada")  # "HOME" in the JSON files; the libraries hold paths below it
FIRST_MTIME = 1_788_000_000  # seconds
KEPT = ("path", "score", "global", "local", "copies")  # of a hit
SMALLEST_GAP = 3e-6  # between the scores of hits: rounding must not decide their order

mtimes = count(FIRST_MTIME)
rng = random.Random(12)


def mkt(*arguments: str | Path, code: int = 0) -> str:
    """Run `mkt` and return what it printed, with HOME for the folder all of this is in."""
    result = CliRunner().invoke(main, [os.fspath(a) for a in arguments])
    assert result.exit_code == code, f"{arguments}: {result.output}\n{result.exception!r}"
    print("$ mkt", *arguments, file=sys.stderr)
    print(result.stderr, file=sys.stderr, end="")
    return result.stdout.replace(str(HOME), "HOME")


# The checkpoint and the photos


def wide_checkpoint(folder: Path) -> Path:
    """Write a checkpoint that sees colours on a grid of 6 x 8 patches, as 8 numbers each.

    A colour is the RGB of its pixels, turned into eight dimensions; so are the labels. "dark" is
    the opposite of white: with it, padding in place of a local vector would score best.
    """
    grid, dim = (6, 8), 8
    options = {
        **{"img_size": (48, 64), "patch_size": 8, "embed_dim": 3, "depth": 0, "num_heads": 1},
        **{"class_token": False, "pos_embed": "none", "global_pool": "avg", "final_norm": False},
    }
    backbone = create_backbone("vit_tiny_patch16_224", image_size=(48, 64), **options)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(dim, 3)))[0].astype(np.float32)
    head = torch.nn.Linear(3, dim)
    with torch.no_grad():
        projection = backbone.get_submodule("patch_embed.proj")
        projection.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 8, 8) / 64)
        projection.bias.zero_()
        head.weight.copy_(torch.from_numpy(turn))
        head.bias.zero_()
    meta = Meta(
        backbone="vit_tiny_patch16_224",
        options=options,
        image=ImageSpec(48, 64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        grid=grid,
        dim=dim,
        top_k=3,
        heads="shared",
    )
    colours = np.array([*COLOURS.values(), (-255, -255, -255)], np.float32)
    table = LabelTable((*COLOURS, "dark"), colours @ turn.T)
    student = Student(backbone, head, head, dim=dim, grid=grid).eval()
    checkpoint.write(folder, meta, student.state(), labels=table)
    return folder


def any_colour() -> tuple[int, int, int]:
    """Return a colour near one with a name."""
    red, green, blue = (
        min(255, max(0, value + rng.randint(-60, 60)))
        for value in COLOURS[rng.choice(tuple(COLOURS))]
    )
    return red, green, blue


def paint_photo(path: Path) -> Path:
    """Paint a photo of 4 x 4 patches in several colours."""
    cells = rng.sample([(row, column) for row in range(4) for column in range(4)], 6)
    some = [any_colour() for _ in range(3)]
    patches = {cell: some[place // 2] for place, cell in enumerate(cells)}
    size = rng.choice(((16, 16), (16, 16), (32, 16), (16, 32)))
    return stamp(paint(path, any_colour(), patches, size=size))


def take_photo(path: Path, *, taken: str, camera: str, orientation: int = 1) -> Path:
    """Paint a photo and save it as a camera would."""
    painted = paint_photo(path.with_suffix(".png"))
    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = camera, orientation
    exif.get_ifd(0x8769)[0x9003] = taken
    with Image.open(painted) as image:
        image.save(path, exif=exif, quality=90, subsampling=0)
    painted.unlink()
    return stamp(path)


def stamp(path: Path) -> Path:
    """Give a file a time of its own that an archive keeps."""
    now = next(mtimes)
    os.utime(path, (now, now))
    return path


# What the program prints


def searched(
    library: Path, model: Path, searches: Sequence[Sequence[str]], *, has_exact: bool
) -> Iterator[dict[str, Any]]:
    """Yield the arguments and the hits of every search.

    Where the program has --exact, its hits must be the same; and no two scores are nearly equal.
    """
    for arguments in searches:
        given = [argument.replace("HOME", str(HOME)) for argument in arguments]
        places = ("--model", model, "--library", library)
        hits = json.loads(mkt("search", *given, *places, "--json"))
        if has_exact:
            assert hits == json.loads(mkt("search", *given, *places, "--json", "--exact"))
        more = json.loads(mkt("search", *given, "-k", str(len(hits) + 1), *places, "--json"))
        for better, worse in pairwise(hit["score"] for hit in more):
            assert better - worse > SMALLEST_GAP, f"{arguments}: {better} and {worse}"
        yield {"arguments": arguments, "hits": [short(hit) for hit in hits]}


def short(hit: dict[str, Any]) -> dict[str, Any]:
    """Return a hit with its boxes as [left, top, right, bottom]; without its number."""
    boxes = [[box[side] for side in ("left", "top", "right", "bottom")] for box in hit["boxes"]]
    return {**{key: hit[key] for key in KEPT}, "boxes": boxes}


def listed(library: Path) -> dict[str, Any]:
    """Return what a library holds, as the program tells it."""
    place = ("--library", library)
    return {
        "status": json.loads(mkt("status", "--json", *place)),
        "failed": json.loads(mkt("status", "--failed", "--json", *place)),
        "tags": [list(tag.values()) for tag in json.loads(mkt("tags", "--json", *place))],
        "runs": json.loads(mkt("tags", "--runs", "--json", *place)),
    }


def write_lines(file: Path, *lines: str) -> Path:
    """Write a text file."""
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


# The archives


def schema_0004() -> dict[str, Any]:
    """Index, change, tag, evaluate and optimize: all that a library of 7e39675 could hold."""
    model, photos, scans = wide_checkpoint(HOME / "student"), HOME / "photos", HOME / "scans"
    library = HOME / "library"
    place, given = ("--library", library), ("--model", model, "--library", library)
    for number in range(262):
        folder = ("alps", "beach", "city/night")[number % 3]
        paint_photo(photos / folder / f"{number:03}.png")
    (photos / "city" / "broken.jpg").write_bytes(b"not a photo")
    stamp(photos / "city" / "broken.jpg")
    mkt("init", library)
    small = ("--batch-size", "16", "--workers", "1")
    settings = ("--dtype", "float32", "--local", "cover", "--m", "4")
    mkt("index", photos, *given, *small, *settings)  # 17 segments, merged into one at the end

    for number, (year, camera) in enumerate(
        [(2019, "Pinhole 3000"), (2022, "Pinhole 3000"), (2024, "Box X"), (2026, "Box X")] * 2
    ):
        taken = f"{year}:0{number + 1}:17 08:09:10"
        name = photos / "trip" / f"img_{number}.jpg"
        take_photo(name, taken=taken, camera=camera, orientation=6 if number == 5 else 1)
    shutil.copy2(photos / "alps" / "000.png", photos / "trip" / "copy.png")
    mkt("index", photos, *given, *small)

    (photos / "alps" / "003.png").rename(photos / "alps" / "summit.png")
    (photos / "beach" / "004.png").unlink()
    paint_photo(photos / "beach" / "007.png")  # a row of the first segment is of no photo now
    for number in range(6):
        paint_photo(scans / f"scan {number}.png")
    mkt("index", photos, *given, *small)
    mkt("index", scans, *given, *small)

    colours = write_lines(HOME / "colours.txt", "red", "green", "blue", "yellow", "magenta")
    some = write_lines(HOME / "some.txt", "red", "cyan")
    others = write_lines(HOME / "others.txt", "blue", "white", "orange")
    mkt("tag", "--vocabulary", colours, "--top", "1", "--threshold", "0.95", *given)
    mkt("tag", "--vocabulary", some, "--top", "1", "--threshold", "0.97", *given)  # replaces red
    mkt("tag", "--vocabulary", others, "--top", "2", "--threshold", "0.93", *given)
    by_hand = [photos / "alps" / "summit.png", photos / "trip" / "img_5.jpg"]
    mkt("tag", *by_hand, "--add", "the big one", *given)
    mkt("tag", photos / "alps" / "000.png", scans / "scan 1.png", "--add", "red", *given)
    runs = json.loads(mkt("tags", "--runs", "--json", *place))
    _, replacing, reverted = (run["run"] for run in runs if run["kind"] == "tag")
    mkt("untag", "--run", str(reverted), *place)

    names = ("green", "blue", "magenta", "red")
    labels = {f"{n:03}.png": [names[n % 4], names[n % 3]] for n in range(0, 60, 3) if n != 3}
    (HOME / "labels.json").write_text(json.dumps(labels))
    shown = (
        "--photos",
        photos / "alps",
        "--labels",
        HOME / "labels.json",
        "--only",
        "all",
        "--min-photos",
        "1",
    )
    mkt("evaluate", *shown, "--workers", "1", *given)

    mkt("optimize", *place)
    paint_photo(photos / "trip" / "later.png")
    (photos / "alps" / "006.png").unlink()
    mkt("index", photos, *given, *small)  # changes that are newer than the candidate index

    searches = [
        *([colour, "-k", "8"] for colour in ("red", "orange", "white", "cyan")),
        ["magenta", "-k", "40"],
        ["red + blue", "-k", "8"],
        ["magenta + orange", "--recall", "0.9", "-k", "8"],
        ["2*green + 0.5*white - red", "-k", "8"],
        ["yellow", "--not", "magenta", "-k", "8"],
        ["white - 2*red", "-k", "5"],
        ["dark", "-k", "8"],
        ["2*blue + dark", "-k", "5"],
        ["--like", "HOME/photos/alps/summit.png", "-k", "6"],
        ["cyan", "--like", "HOME/scans/scan 2.png", "-k", "6"],
        ["blue", "--path", "*/beach/*", "-k", "6"],
        ["blue", "--path", "scan", "-k", "3"],
        ["green", "--camera", "pinhole", "-k", "3"],
        ["green", "--after", "2022", "--before", "2026-05", "-k", "4"],
        ["white", "--tag", "the big one", "-k", "2"],
        ["green", "--min-width", "32", "-k", "6"],
        ["yellow", "--min-height", "32", "--path", "*/alps/*", "-k", "6"],
    ]
    explained = CliRunner().invoke(
        main, ["search", "red", "-k", "8", "--explain", *map(str, given)]
    )
    print(explained.stderr, file=sys.stderr)
    assert explained.stderr.startswith("candidates")
    expected = {
        **listed(library),
        "searches": list(searched(library, model, searches, has_exact=True)),
        "evaluations": json.loads(mkt("evaluate", "--list", "--json", "-", *place)),
    }
    shutil.copytree(library, HOME / "copy")
    copy = ("--library", HOME / "copy")
    mkt("untag", "--run", str(replacing), *copy)
    red = json.loads(mkt("tags", "--label", "red", "--source", "auto", "--json", *copy))
    expected["untag"] = {"run": replacing, "red": [list(tag.values()) for tag in red]}
    shutil.rmtree(HOME / "copy")
    return {"library": expected}


def in_forms(forms: dict[str, tuple[str, ...]], *, photos: int, has_exact: bool) -> dict[str, Any]:
    """Make small libraries of the same photos, each under other settings of `mkt index`."""
    model, folder = colour_checkpoint(HOME / "student"), HOME / "photos"
    for number in range(photos):
        paint_photo(folder / f"{number:02}.png")
    (folder / "broken.jpg").write_bytes(b"not a photo")
    stamp(folder / "broken.jpg")
    shutil.copy2(folder / "01.png", folder / "copy.png")
    for name, settings in forms.items():
        given = ("--model", model, "--library", HOME / name)
        mkt("init", HOME / name)
        (HOME / name / "mkt.toml").unlink()  # one is in the archive of the whole library
        mkt("index", folder, *given, "--dtype", "float32", "--batch-size", "8", *settings)
    (folder / "02.png").rename(folder / "renamed.png")
    (folder / "03.png").unlink()
    take_photo(folder / "new.jpg", taken="2024:05:17 08:09:10", camera="Pinhole 3000")
    three = write_lines(HOME / "three.txt", "red", "green", "blue")
    both = write_lines(HOME / "both.txt", "red", "white")
    searches = [
        ["red", "-k", "4"],
        ["cyan + orange - white", "-k", "4"],
        ["yellow", "--not", "magenta", "-k", "4"],
        ["green", "--like", "HOME/photos/renamed.png", "-k", "4"],
        ["blue", "--camera", "pinhole", "-k", "1"],
    ]
    expected = {}
    for name in forms:
        library = HOME / name
        given = ("--model", model, "--library", library)
        mkt("index", folder, *given)
        mkt("tag", "--vocabulary", three, "--top", "1", "--threshold", "-2", *given)
        mkt("tag", "--vocabulary", both, "--top", "1", "--threshold", "-2", *given)
        mkt("tag", "--vocabulary", three, "--top", "2", "--threshold", "-2", *given)
        mkt("untag", "--run", "5", "--library", library)
        mkt("tag", folder / "renamed.png", folder / "copy.png", "--add", "my dog", *given)
        expected[name] = {
            **listed(library),
            "searches": list(searched(library, model, searches, has_exact=has_exact)),
        }
    return expected


def schema_0001() -> dict[str, Any]:
    """Three libraries of the first schema, one of them in a form that this program retired."""
    small = ("--m", "4", "--top-k", "2")
    forms = {
        "kset": ("--local", "kset", *small),
        "topk": ("--local", "topk", *small),
        "all": ("--local", "all", "--precision", "fp16", "--top-k", "2"),
    }
    return in_forms(forms, photos=20, has_exact=False)


def pooled_forms() -> dict[str, Any]:
    """Libraries in forms that stay (int4, topk, all) and in forms that were retired."""
    small = ("--m", "4", "--top-k", "2")
    forms = {
        "cover-int4": ("--local", "cover", "--precision", "int4", *small),
        "topk-int8": ("--local", "topk", *small),
        "all-fp16": ("--local", "all", "--precision", "fp16", "--top-k", "2"),
        "kset-int8": ("--local", "kset", *small),
        "centroids-int8": ("--local", "centroids", *small),
        "ward-int8": ("--local", "ward", *small),
        "cover-fp16": ("--local", "cover", "--precision", "fp16", *small),
        "cover-vocabulary": ("--local", "cover", "--scale", "vocabulary", *small),
    }
    return in_forms(forms, photos=12, has_exact=True)


def pack(archive: Path, folders: Sequence[Path]) -> None:
    """Put folders into an archive, with the times of their files but not their owners."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(archive, "w:xz", preset=9) as file:
        for folder in folders:
            if folder.exists():
                file.add(folder, folder.relative_to(HOME), filter=plain)


def commit() -> str:
    """Return the commit of the program that runs."""
    folder = Path(str(mkt_search.__file__)).parent
    asked = ("git", "-C", str(folder), "rev-parse", "--short=7", "HEAD")
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def rounded(value: Any) -> Any:
    """Return JSON data with numbers of seven digits, as float32 has them."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def as_text(found: dict[str, Any]) -> str:
    """Return JSON with one line for each tag, run and search."""
    parts = []
    for name, library in found.items():
        inside = []
        for key, value in library.items():
            lines = ",\n    ".join(json.dumps(item) for item in value)
            whole = f"[\n    {lines}\n  ]" if isinstance(value, list) else json.dumps(value)
            inside.append(f'  "{key}": {whole}')
        parts.append(f'"{name}": {{\n' + ",\n".join(inside) + "\n}")
    return ",\n".join(parts)


def make(name: str) -> None:
    """Make one archive and the file of what is expected of it."""
    archives: dict[str, Callable[[], dict[str, Any]]] = {
        "schema_0001": schema_0001,
        "schema_0004": schema_0004,
        "pooled_forms": pooled_forms,
    }
    HOME.mkdir()  # never over another one
    try:
        found = rounded(archives[name]())
        kept = [
            *(HOME / part for part in ("student", "photos", "scans")),
            *map(HOME.joinpath, found),
        ]
        pack(HERE / f"{name}.tar.xz", kept)
    finally:
        shutil.rmtree(HOME)
    head = f'{{\n"commit": "{commit()}",\n"home": "{HOME}",\n"libraries": {{\n'
    (HERE / f"{name}.json").write_text(head + as_text(found) + "\n}\n}\n")


if __name__ == "__main__":
    make(sys.argv[1])
