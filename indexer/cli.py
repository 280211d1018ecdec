"""`mkt index` and `mkt repair`: bring photos into the library, and vectors back that were lost."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mkt_search.settings import config
from mkt_search.settings.config import Config
from mkt_search.terminal.options import (
    Command,
    json_option,
    library_option,
    setting_option,
    take_settings,
)

if TYPE_CHECKING:
    from indexer.index import Options
    from mkt_search.models.encoder import PhotoEncoder
    from mkt_search.store.store import Store, StoredEncoding

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def settings_options(*names: str) -> Callable[[Decorated], Decorated]:
    """Add the options of several settings, `section.key` each."""

    def add(command: Decorated) -> Decorated:
        for name in reversed(names):
            command = setting_option(name)(command)
        return command

    return add


@click.command(cls=Command, short_help="Bring photos into the library, or see what has changed.")
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
    "index.optimize_from",
    "index.optimize_after",
)
@click.option("--retry", is_flag=True, help="Try photos again that failed before.")
@click.option(
    "--rebuild",
    is_flag=True,
    help="Encode every photo anew, with another model or other settings.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done and change nothing.")
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
    them, add --rebuild: searches use the old vectors until the last new one is there. A rebuild
    keeps the model, but takes the default of every other setting that is not given.

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


@click.command(cls=Command)
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
    return folder, config.load(folder, flags=take_settings(given))


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

    stored = encoding.recorded(store, rebuild=rebuild)
    model = open_model(encoding.model_name(settings, stored))
    dtype = encoding.wanted_dtype(settings, stored, model)
    options = _options(settings, retry=retry)
    with show.shown(_say) as (display, should_stop):
        encoder = None
        if not dry_run:
            encoder = _ready(model.photo_encoder(device=settings.model.device, dtype=dtype))
        asked = encoding.settle(
            settings, stored, model, dtype=encoder.dtype if encoder else dtype, rebuild=rebuild
        )
        if asked.notice:
            display.say(asked.notice)
        if encoder is None:
            summary = preview(
                store,
                folders,
                encoding=asked.encoding,
                rebuild=rebuild,
                options=options,
                progress=display,
            )
        else:
            summary = index(
                store,
                encoder,
                folders,
                encoding=asked.encoding,
                model=model.name,
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

    with show.shown(_say) as (display, should_stop):
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
    return _ready(model.photo_encoder(device=settings.model.device, dtype=dtype))


def _ready(encoder: "PhotoEncoder") -> "PhotoEncoder":
    """Return the encoder after settling the memory of a process that will run it for long."""
    from mkt_search.process import keep_freed_memory

    if encoder.device == "cpu":
        keep_freed_memory()
    return encoder


def _options(settings: Config, *, retry: bool = False) -> "Options":
    from indexer.index import Options

    chosen = settings.index
    return Options(
        batch_size=chosen.batch_size,
        workers=chosen.workers,
        hidden=chosen.hidden,
        max_pixels=chosen.max_pixels,
        retry=retry,
        optimize_from=chosen.optimize_from,
        optimize_after=chosen.optimize_after,
    )


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)
