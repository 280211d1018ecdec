"""`mkt index` and `mkt repair`: bring photos into the library, and vectors back that were lost."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mkt_search import config
from mkt_search.config import Config
from mkt_search.settings import Setting

if TYPE_CHECKING:
    from indexer.index import Options
    from indexer.show import Bar, Lines
    from mkt_search.models.encoder import PhotoEncoder
    from mkt_search.store.store import Store, StoredEncoding

Command = TypeVar("Command", bound=Callable[..., Any])

INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C

library_option = click.option(
    "--library",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    envvar="MKT_LIBRARY",
    show_envvar=True,
    show_default="nearest .mkt upward",
    help="The library folder, or the folder with .mkt in it.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the summary as JSON.  [default: off]"
)


def settings_options(*names: str) -> Callable[[Command], Command]:
    """Add an option for each setting `section.key`, with its help and default."""

    def add(command: Command) -> Command:
        for name in reversed(names):
            command = _setting_option(config.find_setting(name))(command)
        return command

    return add


def _setting_option(item: Setting) -> Callable[[Command], Command]:
    variable, shown = item.name.replace(".", "__"), item.default if item.default != "" else '""'
    help = f"{item.rule.help}  [default: {shown}; mkt.toml: {item.name}]"
    if item.kind is bool:
        return click.option(f"{item.flag}/--no-{item.key}", variable, default=None, help=help)
    flag = "--model" if item.name == "model.checkpoint" else item.flag
    kind: Any = click.Choice(item.choices) if item.choices else item.kind
    metavar = None if item.choices else {int: "N"}.get(item.kind, "TEXT")
    return click.option(flag, variable, type=kind, metavar=metavar, help=help)


@click.command()
@click.argument("folders", nargs=-1, metavar="[DIR]...", type=click.Path(path_type=Path))
@settings_options(
    "model.checkpoint",
    "model.device",
    "model.dtype",
    "index.batch_size",
    "index.workers",
    "index.hidden",
    "index.max_pixels",
    "index.local",
    "index.m",
    "index.top_k",
    "index.precision",
    "index.scale",
    "index.vocabulary",
)
@click.option("--retry", is_flag=True, help="Try photos again that failed before.  [default: off]")
@click.option(
    "--rebuild",
    is_flag=True,
    help="Encode every photo anew, with another model or other settings.  [default: off]",
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be done and change nothing.  [default: off]"
)
@json_option
@library_option
def index(
    folders: tuple[Path, ...],
    retry: bool,
    rebuild: bool,
    dry_run: bool,
    as_json: bool,
    directory: Path | None,
    **given: Any,
) -> None:
    """Bring the photos under each DIR into the library; without DIR, those of all its folders.

    Only what is new or changed is read. A renamed photo keeps its vectors and tags, a vanished one
    is marked missing, and one that cannot be read is counted and left for `mkt status --failed`.
    Every batch is committed by itself: stop it whenever you like, and run it again to go on.

    A model or a setting that is not given is the one the library was made with. To change one of
    them, add --rebuild: searches use the old vectors until the last new one is there.

    \b
    Examples:
      mkt index ~/Pictures --model checkpoints/first
      mkt index
      mkt index ~/Pictures --dry-run
    """
    folder, settings = _library(directory, given)
    with _opened(folder, settings) as store:
        _index(
            store,
            list(folders),
            settings,
            retry=retry,
            rebuild=rebuild,
            dry_run=dry_run,
            as_json=as_json,
        )


@click.command()
@settings_options(
    "model.checkpoint", "model.device", "index.batch_size", "index.workers", "index.max_pixels"
)
@json_option
@library_option
def repair(as_json: bool, directory: Path | None, **given: Any) -> None:
    """Encode again what `mkt verify` found damaged.

    Segments that are missing or whose bytes have changed are let go, and their photos are read
    again. Photos and tags are untouched.
    """
    folder, settings = _library(directory, given)
    with _opened(folder, settings) as store:
        _repair(store, settings, as_json=as_json)


def _library(directory: Path | None, given: dict[str, Any]) -> tuple[Path, Config]:
    """Return the library folder and the settings that hold for it."""
    folder = config.named_library(directory) if directory else config.find_library(Path.cwd())
    flags = {name.replace("__", "."): value for name, value in given.items()}
    return folder, config.load(folder, flags=flags)


@contextmanager
def _opened(folder: Path, settings: Config) -> Iterator["Store"]:
    from mkt_search.store.store import Store

    store = Store.open(folder, url=settings.library.database or None)
    try:
        yield store
    finally:
        store.close()


def _index(
    store: "Store",
    folders: list[Path],
    settings: Config,
    *,
    retry: bool,
    rebuild: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    from indexer import encoding, show
    from indexer.index import index, preview
    from mkt_search.models.build import open_model

    stored = encoding.recorded(store)
    model = open_model(encoding.model_name(settings, stored))
    dtype = encoding.wanted_dtype(settings, stored, model)
    options = _options(settings, retry=retry)
    with _shown() as (display, should_stop):
        if dry_run:
            asked = encoding.settle(settings, stored, model, dtype=dtype)
            summary = preview(
                store,
                folders,
                encoding=asked.encoding,
                rebuild=rebuild,
                options=options,
                progress=display,
            )
        else:
            encoder = model.photo_encoder(device=settings.model.device, dtype=dtype)
            asked = encoding.settle(settings, stored, model, dtype=encoder.dtype)
            summary = index(
                store,
                encoder,
                folders,
                encoding=asked.encoding,
                model=model.name,
                vocabulary=asked.vocabulary,
                rebuild=rebuild,
                options=options,
                progress=display,
                should_stop=should_stop,
            )
    if as_json:
        click.echo(json.dumps(show.as_data(summary), indent=2, ensure_ascii=False))
    show.tell(summary, _say, dry_run=dry_run)


def _repair(store: "Store", settings: Config, *, as_json: bool) -> None:
    from indexer import show
    from indexer.repair import repair

    def open_encoder(stored: "StoredEncoding") -> "PhotoEncoder":
        return _encoder_of(stored, settings)

    with _shown() as (display, should_stop):
        done = repair(
            store,
            open_encoder,
            options=_options(settings),
            progress=display,
            should_stop=should_stop,
        )
    if as_json:
        click.echo(json.dumps(show.as_data(done), indent=2))
    show.tell_repaired(done, _say)


def _encoder_of(stored: "StoredEncoding", settings: Config) -> "PhotoEncoder":
    """Return the student whose vectors are stored. Raises CheckpointMismatch."""
    from indexer import encoding
    from mkt_search.errors import CheckpointMismatch
    from mkt_search.models.build import open_model

    model = open_model(encoding.model_name(settings, stored))
    if model.fingerprint != stored.encoding.checkpoint:
        raise CheckpointMismatch(
            f"the library was made with checkpoint {stored.encoding.checkpoint} ({stored.model}), "
            f"but {model.name} is {model.fingerprint}; name the first with --model"
        )
    dtype: Any = stored.encoding.dtype
    return model.photo_encoder(device=settings.model.device, dtype=dtype)


def _options(settings: Config, *, retry: bool = False) -> "Options":
    from indexer.index import Options

    chosen = settings.index
    return Options(
        batch_size=chosen.batch_size,
        workers=chosen.workers,
        hidden=chosen.hidden,
        max_pixels=chosen.max_pixels,
        retry=retry,
    )


@contextmanager
def _shown() -> Iterator[tuple["Bar | Lines", Callable[[], bool]]]:
    """Show a run on stderr, and let Ctrl-C end it between two batches; a second ends it at once."""
    from indexer.show import Bar, Lines

    display = Bar() if sys.stderr.isatty() else Lines(_say)
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set() or not display.total:
            raise KeyboardInterrupt
        stop.set()
        display.say("stopping after this batch; Ctrl-C again stops at once")

    try:
        with _on_interrupt(ask):
            yield display, stop.is_set
    except KeyboardInterrupt:
        display.end()
        if not display.total:
            raise
        there = display.before + display.done - display.failed
        _say(
            f"stopped: {there:,} of {display.before + display.total:,} photos are in the library; "
            "run the same command to go on"
        )
        raise SystemExit(INTERRUPTED) from None
    finally:
        display.end()


@contextmanager
def _on_interrupt(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle Ctrl-C otherwise for a while; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)
