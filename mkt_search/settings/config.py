"""Declare every setting, read them once into frozen dataclasses, and locate the library.

A value comes from the first of: a flag, the environment (`MKT_<SECTION>_<KEY>`), the nearest
`mkt.toml`, the default below. `mkt.toml` in the repository repeats help and defaults for readers,
and a test keeps the two equal. Light to import, because the command line builds its options from
this module: `types.py` is not imported, as it loads numpy.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from mkt_search.errors import ConfigError, LibraryNotFound
from mkt_search.settings import toml as config_file
from mkt_search.settings.setting import Setting, check, nearest, parse, setting

FILE = "mkt.toml"
LABELS_FILE = "labels.toml"
FOLDER = ".mkt"
NO_THRESHOLD = -1.0  # every score is at least that


@dataclass(frozen=True)
class LibraryConfig:
    """Where the library keeps its database."""

    database: str = setting(
        "", 'SQLite or PostgreSQL URL of the database; "" is SQLite in the library folder.'
    )


@dataclass(frozen=True)
class ModelConfig:
    """The model and how it runs."""

    checkpoint: str = setting(
        "",
        'Checkpoint folder, or open_clip NAME/TAG or NAME/FILE; "" is the library\'s model.',
        is_path=True,
    )
    device: str = setting(
        "auto", "Where the model runs: auto, cpu, cuda, cuda:1 or mps.", advanced=True
    )
    dtype: Literal["auto", "bfloat16", "float32"] = setting(
        "auto",
        "Number format of the model: auto (the faster one), bfloat16 or float32.",
        advanced=True,
    )
    patch_vectors: Literal["kk", "value", "own"] = setting(
        "kk",
        "Patch vectors of a CLIP: kk or value (of its last attention), or own (its last tokens).",
        advanced=True,
    )
    templates: tuple[str, ...] = setting(
        ("There is a {} in the scene", "a photo of a {}.", "a photo of the {}.", "itap of a {}."),
        "Texts around a label, averaged by a CLIP without a prompt of its own.",
        advanced=True,
    )
    label_file: str = setting(
        "",
        f'File of phrases of labels; "" is {LABELS_FILE} beside mkt.toml or .mkt, if it is there.',
        is_path=True,
        advanced=True,
    )


@dataclass(frozen=True)
class IndexConfig:
    """How photos become vectors. The first four define what a stored vector is."""

    pooling: Literal["cover", "topk", "all"] = setting(
        "cover",
        "How a photo's patches are pooled: cover, topk or all (no pooling, much disk).",
        advanced=True,
    )
    m: int = setting(16, "Local vectors stored per photo.", at_least=1, at_most=1024, advanced=True)
    top_k: int = setting(
        0,
        "Best patches averaged by the local score; 0 is the checkpoint's own.",
        at_least=0,
        advanced=True,
    )
    precision: Literal["int8", "int4"] = setting(
        "int8",
        "Number format of stored vectors: int8 or int4; `all` is always float16.",
        advanced=True,
    )
    batch_size: int = setting(
        32, "Photos encoded and committed together.", at_least=1, advanced=True
    )
    workers: int = setting(
        0, "Threads that decode photos; 0 is one per processor.", at_least=0, advanced=True
    )
    max_pixels: int = setting(
        179_000_000,
        "Largest photo to decode, in pixels; larger ones fail.",
        at_least=1,
        advanced=True,
    )
    hidden: bool = setting(False, "Include folders whose name starts with a dot.")
    follow_links: bool = setting(False, "Include what links lead to outside of the folder.")
    optimize_from: int = setting(
        20_000,
        "Photos from which the library gets a candidate index; 0 is never.",
        at_least=0,
        advanced=True,
    )
    optimize_after: float = setting(
        0.2,
        "Share of new photos at which the candidate index is rebuilt.",
        at_least=0,
        advanced=True,
    )


@dataclass(frozen=True)
class SearchConfig:
    """What a search shows."""

    k: int = setting(20, "Photos to show, best first.", at_least=1, at_most=1_000_000)
    recall: float = setting(
        0.99,
        "Share of the exact best photos that a search must find; 1 scores every photo.",
        at_least=0.5,
        at_most=1,
        advanced=True,
    )
    thumbnail: int = setting(
        320,
        "Longer side of the thumbnails of a contact sheet, in pixels.",
        at_least=32,
        at_most=4096,
        advanced=True,
    )


@dataclass(frozen=True)
class TagConfig:
    """Which labels of a vocabulary become tags (every condition holds), and the memory for it.

    Without a condition, tags have a precision of 0.8 where a calibrator can tell, and otherwise are
    labels that stand out.
    """

    top: int = setting(0, "Most labels per photo, best first; 0 is no limit.", at_least=0)
    precision: float = setting(
        0.0,
        "Share of a label's tags that are expected to be right; 0 is 0.8 if nothing else is asked.",
        at_least=0,
        at_most=1,
    )
    min_p: float = setting(
        0.0, "Lowest probability that becomes a tag; 0 is any.", at_least=0, at_most=1
    )
    threshold: float = setting(
        NO_THRESHOLD, "Lowest score that becomes a tag, instead; -1 is any.", at_most=1
    )
    memory_mb: int = setting(
        1000,
        "Memory for vectors and scores, in MB.",
        at_least=1,
        advanced=True,
    )


@dataclass(frozen=True)
class DataConfig:
    """Labeled photos and their splits, for training and for evaluation."""

    kind: Literal["folder", "coco", "voc", "nus-wide", "open-images"] = setting(
        "folder",
        "How the labeled photos are laid out: folder, coco, voc, nus-wide or open-images.",
    )
    photos: str = setting("", "Folder of the photos, or of the whole dataset.", is_path=True)
    labels: str = setting(
        "",
        "Labels of the photos: .json, .csv or .jsonl of file -> labels, or as the kind has it.",
        is_path=True,
    )
    splits: str = setting(
        "",
        'File -> "train" or "test" (JSON or CSV); "" is the dataset\'s own split, or a random one.',
        is_path=True,
    )
    unseen: str = setting(
        "",
        'File of labels never trained on, one per line; "" is the dataset\'s own, or random ones.',
        is_path=True,
    )
    validation: Literal["held-out", "test", "none"] = setting(
        "held-out", "Photos scored after each epoch: held-out, test or none.", advanced=True
    )
    validation_fraction: float = setting(
        0.1,
        "Fraction of training photos held out for that where the dataset names none.",
        advanced=True,
    )
    test_fraction: float = setting(
        0.1,
        "Fraction of photos set aside for the final test where no split is given.",
        advanced=True,
    )
    unseen_fraction: float = setting(
        0.2, "Fraction of labels drawn as unseen where no file names them.", advanced=True
    )
    min_photos: int = setting(
        10,
        "Labels with fewer training photos are left out, where the dataset names no labels.",
        at_least=1,
        advanced=True,
    )
    split_seed: int = setting(
        0, "Seed of the unseen labels and the photos set aside.", at_least=0, advanced=True
    )


@dataclass(frozen=True)
class Stage1Config:
    """Training the student on seen labels (`mkt train stage1`). Defaults are those of `linear`."""

    recipe: Literal["linear", "finetune", "paper"] = setting(
        "linear",
        "Defaults of [stage1] and [stage2]: linear, finetune or paper (docs/training.md).",
    )
    label_table: str = setting("", "Label vectors, .npz or GloVe text.", is_path=True)
    text_model: str = setting(
        "",
        "Instead of a table, a text tower: open_clip NAME/TAG, NAME/FILE or a model's folder.",
        is_path=True,
    )
    teacher: str = setting(
        "",
        'CLIP that teaches: open_clip NAME/TAG, NAME/FILE or a model\'s folder; "" is none.',
        is_path=True,
    )
    distill: float = setting(
        0.0, "Weight of the distance between global vectors and the teacher's.", at_least=0
    )
    backbone: str = setting("mobilenetv2_100", "The student's backbone, any timm model name.")
    backbone_weights: str = setting(
        "",
        'Weights of the backbone: .safetensors, .pth, or teacher for its own ViT; "" is random.',
        is_path=True,
    )
    anchor: str = setting(
        "auto",
        "Share of the teacher in the weights, or of the backbone's classifier in the vectors: auto"
        " (chosen on labels held out) or a number; 0 is none.",
    )
    frozen: str = setting("all", 'First blocks that do not learn: "all" or a number in quotes.')
    top_k: int = setting(8, "Best patches averaged by the local stream.", at_least=1)
    epochs: int = setting(
        4, "Passes over the training photos; 0 keeps the initial heads.", at_least=0
    )
    batch_size: int = setting(64, "Photos per step, of all processes together.", at_least=1)
    lr: float = setting(3e-4, "Peak learning rate.", at_most=1_000)
    seed: int = setting(0, "Seed of initial weights, order and augmentation.", at_least=0)
    device: str = setting("auto", "Where training runs: auto, cpu, cuda or cuda:1.")
    workers: int = setting(2, "Processes that decode photos.", at_least=0)
    classifier: str = setting(
        "",
        'Weights of the backbone\'s classifier; "" are in the file of the backbone.',
        is_path=True,
        advanced=True,
    )
    class_names: str = setting(
        "",
        'Names of the classifier\'s classes, one a line; "" are those of ImageNet.',
        is_path=True,
        advanced=True,
    )
    image_height: int = setting(
        224, "Height of the student's input, in pixels.", at_least=1, advanced=True
    )
    image_width: int = setting(
        224, "Width of the student's input, in pixels.", at_least=1, advanced=True
    )
    resize: Literal["squash", "crop"] = setting(
        "squash",
        "squash keeps the whole photo and changes its aspect; crop keeps the center.",
        advanced=True,
    )
    mean: tuple[float, ...] = setting(
        (), "Subtracted per RGB channel, on [0, 1]; [] is the backbone's own.", advanced=True
    )
    std: tuple[float, ...] = setting(
        (), "Divided by, per RGB channel; [] is the backbone's own.", advanced=True
    )
    backbone_args: tuple[str, ...] = setting(
        (), 'Further timm arguments, each "name=value".', advanced=True
    )
    lengths: Literal["one", "own"] = setting(
        "one",
        "Lengths of a text tower's label vectors: one, or own (the paper's code).",
        advanced=True,
    )
    label_transform: Literal["none", "center", "whiten"] = setting(
        "whiten",
        "Transform of the vectors of a table: none, center or whiten.",
        advanced=True,
    )
    whiten_power: float = setting(
        0.25,
        "whiten divides each direction by its variance to this power.",
        at_least=0,
        advanced=True,
    )
    whiten_shrink: float = setting(
        1.0,
        "Fraction of the mean variance added to each variance first.",
        at_least=0,
        advanced=True,
    )
    heads: Literal["linear", "mlp", "shared"] = setting(
        "linear",
        "From the backbone to the label space: linear, mlp or shared (one for both streams).",
        advanced=True,
    )
    head_init: Literal["random", "ridge", "teacher"] = setting(
        "ridge",
        "Initial heads: random, ridge (a regression on features) or teacher (its projection).",
        advanced=True,
    )
    ridge: float = setting(
        0.004,
        "Strength of the ridge, in total variances of the global features.",
        at_least=0,
        advanced=True,
    )
    pca_dim: int = setting(
        256,
        "Principal axes of the backbone's features that linear heads see; 0 is all channels.",
        at_least=0,
        advanced=True,
    )
    regression: float = setting(
        20.0,
        "Weight of the squared distance between vectors and the photo's labels.",
        at_least=0,
        advanced=True,
    )
    distill_on: Literal["raw", "unit"] = setting(
        "raw",
        "Compare raw vectors with the teacher's (the paper's code), or unit: their directions.",
        advanced=True,
    )
    local_share: str = setting(
        "auto",
        "Share of the local stream in the score: auto (chosen with the weight of the anchor, else"
        " 0.5) or a number; the paper's is 0.5.",
        advanced=True,
    )
    distill_patches: float = setting(
        0.0,
        "Weight of the distance between patch vectors and the teacher's.",
        at_least=0,
        advanced=True,
    )
    score: Literal["dot", "cosine", "vocabulary"] = setting(
        "cosine",
        "Score in the loss: dot, cosine, or vocabulary (the paper's).",
        advanced=True,
    )
    score_scale: float = setting(10.0, "Factor of the scores in the loss.", advanced=True)
    margin: float = setting(1.0, "How much a positive must score above a negative.", advanced=True)
    absent_labels: Literal["keep", "skip"] = setting(
        "keep", "Labels with no positive in the batch: keep or skip.", advanced=True
    )
    loss_on: Literal["fused", "global", "local", "streams", "both"] = setting(
        "fused",
        "Scores in the loss: fused, global, local, streams (each) or both (each and fused).",
        advanced=True,
    )
    min_lr: float = setting(
        0.0, "Learning rate at the end of the cosine.", at_least=0, advanced=True
    )
    warmup_epochs: float = setting(
        0.7, "Epochs of rising learning rate.", at_least=0, advanced=True
    )
    weight_decay: float = setting(0.0, "Weight decay of AdamW.", at_least=0, advanced=True)
    layer_decay: float = setting(
        0.65, "Learning rate of each block relative to the next one's.", advanced=True
    )
    clip_grad: float = setting(
        0.0, "Largest gradient norm; 0 does not clip.", at_least=0, advanced=True
    )
    ema: float = setting(
        0.0, "Decay of averaged weights, which are kept; 0 averages nothing.", advanced=True
    )
    flip: bool = setting(
        False,
        "Mirror half of the photos; a frozen backbone then encodes each photo twice.",
        advanced=True,
    )
    crop_scale: float = setting(
        1.0,
        "Smallest fraction of a photo that a random crop keeps; 1 is no crops.",
        advanced=True,
    )
    randaugment: str = setting(
        "",
        'RandAugment in timm\'s syntax, as rand-m9-mstd0.5-inc1; "" is none.',
        advanced=True,
    )
    dtype: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "Number format of the backbone's arithmetic: auto, float32 or bfloat16.",
        advanced=True,
    )
    cache: str = setting(
        "",
        'Folder for features and the teacher\'s vectors, computed once; "" is beside --out.',
        is_path=True,
        advanced=True,
    )


@dataclass(frozen=True)
class Stage2Config:
    """Tuning the prompt of a trained student (`mkt train stage2`)."""

    epochs: int = setting(4, "Passes over the training photos; 0 keeps the template.", at_least=0)
    batch_size: int = setting(64, "Photos per step, of all processes together.", at_least=1)
    lr: float = setting(1e-3, "Learning rate at the start of the cosine.", at_most=1_000)
    labels_per_step: int = setting(
        0,
        "Seen labels per step: those its photos show, filled up at random; 0 is all.",
        at_least=0,
    )
    seed: int = setting(0, "Seed of the order of photos and of labels drawn at random.", at_least=0)
    device: str = setting("auto", "Where training runs: auto, cpu, cuda or cuda:1.")
    workers: int = setting(2, "Processes that decode photos.", at_least=0)
    labels_at_once: int = setting(
        256,
        "Labels in the text tower at a time; fewer take less memory.",
        at_least=1,
        advanced=True,
    )
    score: Literal["dot", "cosine", "vocabulary"] = setting(
        "cosine",
        "Score in the loss: dot, cosine, or vocabulary (the paper's).",
        advanced=True,
    )
    score_scale: float = setting(10.0, "Factor of the scores in the loss.", advanced=True)
    margin: float = setting(1.0, "How much a positive must score above a negative.", advanced=True)
    absent_labels: Literal["keep", "skip"] = setting(
        "keep", "Labels with no positive in the batch: keep or skip.", advanced=True
    )
    loss_on: Literal["fused", "global", "local", "streams", "both"] = setting(
        "fused",
        "Scores in the loss: fused, global, local, streams (each) or both (each and fused).",
        advanced=True,
    )
    min_lr: float = setting(
        1e-8, "Learning rate at the end of the cosine.", at_least=0, advanced=True
    )
    weight_decay: float = setting(0.0, "Weight decay of AdamW.", at_least=0, advanced=True)
    clip_grad: float = setting(
        0.0, "Largest gradient norm; 0 does not clip.", at_least=0, advanced=True
    )
    flip: bool = setting(False, "Mirror half of the photos.", advanced=True)
    crop_scale: float = setting(
        1.0,
        "Smallest fraction of a photo that a random crop keeps; 1 is no crops.",
        advanced=True,
    )
    randaugment: str = setting(
        "",
        'RandAugment in timm\'s syntax, as rand-m9-mstd0.5-inc1; "" is none.',
        advanced=True,
    )
    dtype: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "Number format of the student and the text tower: auto, float32 or bfloat16.",
        advanced=True,
    )
    cache: str = setting(
        "",
        'Folder for the student\'s vectors of the photos; "" is beside --out.',
        is_path=True,
        advanced=True,
    )


@dataclass(frozen=True)
class EvaluateConfig:
    """How models are evaluated on labeled photos (`mkt evaluate`)."""

    protocol: Literal["auto", "nus-wide", "open-images", "biam"] = setting(
        "auto",
        "Counting of the paper's metrics: nus-wide, open-images, biam or auto (the dataset's).",
        advanced=True,
    )
    top_k: int = setting(
        0,
        "Best patches averaged by the local score; 0 is the model's own number.",
        at_least=0,
        advanced=True,
    )
    f1_at: tuple[int, ...] = setting(
        (),
        "Labels given to every photo for F1; none is 3 and 5, or 10 and 20 for open-images.",
        advanced=True,
    )
    depth: int = setting(
        10,
        "Best photos of each label, for P, R, nDCG and mAP at k.",
        at_least=1,
        advanced=True,
    )
    rare_below: int = setting(
        0,
        "Labels with fewer positives are rare; 0 is the median of all labels.",
        at_least=0,
        advanced=True,
    )
    batch_size: int = setting(32, "Photos encoded together.", at_least=1, advanced=True)
    workers: int = setting(
        0, "Threads that decode photos; 0 is one per processor.", at_least=0, advanced=True
    )


@dataclass(frozen=True)
class Config:
    """Every setting, checked. `sources` maps `section.key` to the source of its value."""

    library: LibraryConfig = field(default_factory=LibraryConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    tag: TagConfig = field(default_factory=TagConfig)
    data: DataConfig = field(default_factory=DataConfig)
    stage1: Stage1Config = field(default_factory=Stage1Config)
    stage2: Stage2Config = field(default_factory=Stage2Config)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)


SECTIONS: dict[str, type[Any]] = {
    "library": LibraryConfig,
    "model": ModelConfig,
    "index": IndexConfig,
    "search": SearchConfig,
    "tag": TagConfig,
    "data": DataConfig,
    "stage1": Stage1Config,
    "stage2": Stage2Config,
    "evaluate": EvaluateConfig,
}


def settings() -> Iterator[Setting]:
    """Yield every setting in the order of sections and keys."""
    for section, declared in SECTIONS.items():
        for item in fields(declared):
            yield Setting(section, item.name, item.type, item.default, item.metadata["rule"])


def find_setting(name: str) -> Setting:
    """Return the setting called `section.key`."""
    return next(item for item in settings() if item.name == name)


def load(
    start: Path | str,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Read every setting for a command that runs in the folder `start`.

    Args:
        start: the folder from which to look upward for `mkt.toml`; may be the library folder.
        environ: environment variables; None is those of the process.
        flags: values by `section.key`; a value of None counts as not given.

    Raises:
        ConfigError: a value or a name is wrong; the text says where.
    """
    environ = os.environ if environ is None else environ
    _refuse_unknown_variables(environ)
    home = find_home(Path(start))
    has_file = home is not None and (home / FILE).exists()
    file_values = config_file.read(home / FILE, list(settings())) if home and has_file else {}
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    sources: dict[str, str] = {}
    for item in settings():
        value, sources[item.name] = _pick(item, flags or {}, environ, file_values)
        values[item.section][item.key] = value
    labels = home / LABELS_FILE if home else None
    if labels is not None and not values["model"]["label_file"] and labels.exists():
        values["model"]["label_file"] = str(labels)
    return Config(
        **{name: part(**values[name]) for name, part in SECTIONS.items()}, sources=sources
    )


def from_values(values: Mapping[str, Any]) -> Config:
    """Return the configuration of values by `section.key`; every other setting has its default.

    A path or a whole number is taken for text where text is wanted.

    Raises:
        ConfigError: a name is unknown, or a value has the wrong type or size.
    """
    known = {item.name: item for item in settings()}
    parts: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, value in values.items():
        if name not in known:
            hint = nearest(name, known, '"{}"')
            raise ConfigError(f'unknown setting "{name}"{hint}')
        item = known[name]
        if item.kind is str and isinstance(value, Path | int) and not isinstance(value, bool):
            value = str(value)
        parts[item.section][item.key] = check(item, value, place=name)
    sources = {name: "given" if name in values else "default" for name in known}
    return Config(**{name: part(**parts[name]) for name, part in SECTIONS.items()}, sources=sources)


def _pick(
    item: Setting,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    file_values: Mapping[str, config_file.FileValue],
) -> tuple[Any, str]:
    """Return the setting's value and its source, by precedence."""
    if flags.get(item.name) is not None:
        return check(item, flags[item.name], place=item.flag), item.flag
    if item.variable in environ:
        place = f"environment variable {item.variable}"
        return check(item, parse(item, environ[item.variable]), place=place), item.variable
    return file_values.get(item.name, (item.default, "default"))


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    """Raise ConfigError for a misspelled variable; ignore MKT_ variables unlike any of ours."""
    for section in SECTIONS:
        known = [item.variable for item in settings() if item.section == section]
        for name in environ:
            if name.startswith(f"MKT_{section}_".upper()) and name not in known:
                new = config_file.RENAMED.get(
                    name.removeprefix("MKT_").replace("_", ".", 1).lower()
                )
                hint = f"; it is now called {f'MKT_{section}_{new}'.upper()}" if new else ""
                raise ConfigError(
                    f"unknown environment variable {name}{hint or nearest(name, known, '{}')}"
                )
    every = ["MKT_LIBRARY", *(item.variable for item in settings())]
    for name in environ:
        if name.startswith("MKT_") and name not in every:
            close = difflib.get_close_matches(name, every, n=1, cutoff=0.9)
            if close:
                raise ConfigError(f"unknown environment variable {name}; did you mean {close[0]}?")


def find_home(start: Path) -> Path | None:
    """Return the nearest folder, from `start` upward, with `.mkt/` or `mkt.toml`; None without."""
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / FOLDER).is_dir() or (folder / FILE).exists():
            return folder
    return None


def find_library(start: Path) -> Path:
    """Return the nearest library folder (`.mkt`) from `start` upward.

    Raises:
        LibraryNotFound: there is none; the text says how to create one.
    """
    home = find_home(start)
    if home is None:
        raise LibraryNotFound(
            f"no library in {start.absolute()} or above it. Run `mkt init` in the folder of your"
            " photos, or name a library with --library DIR."
        )
    if not (home / FOLDER).is_dir():
        raise LibraryNotFound(f"{home} has a {FILE} but no library yet. Run `mkt init {home}`.")
    return home / FOLDER


def named_library(directory: Path) -> Path:
    """Return the library folder for `--library DIR`: DIR/.mkt, or DIR if it is a library itself.

    Raises:
        LibraryNotFound: DIR is neither.
    """
    if (directory / FOLDER).is_dir():
        return directory / FOLDER
    is_library = directory.name == FOLDER or (directory / "mkt.db").is_file()
    if is_library and directory.is_dir():
        return directory
    if directory.exists() and not directory.is_dir():
        raise LibraryNotFound(f"{directory} is not a folder; name the folder of a library.")
    raise LibraryNotFound(f"no library in {directory}. Run `mkt init {directory}` to create one.")


def documented() -> str:
    """Return the text of the `mkt.toml` that documents every setting with its default.

    An installed package contains it; in a checkout it is in the repository root.

    Raises:
        ConfigError: the installed package lacks it.
    """
    package = Path(__file__).parent.parent
    for file in (package / FILE, package.parent / FILE):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise ConfigError(f"{FILE} is missing from the installed package; install mkt-search again.")
