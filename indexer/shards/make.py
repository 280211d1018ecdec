"""Make a plan from a library: list the photos that it lacks, or has otherwise, in shards."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from indexer.encoding import model_name, recorded
from indexer.exclude import Exclusions
from indexer.index import open_encoder, policy_of
from indexer.scan import scan_folders
from indexer.shards.plan import PHOTOS_A_SHARD, ShardPlan, is_inside, write_plan
from mkt_search.errors import PlanError
from mkt_search.progress import ProgressCallback, no_progress
from mkt_search.settings.config import Config
from mkt_search.store.store import Store


def plan_shards(
    store: Store,
    config: Config,
    folder: Path,
    into: Path,
    *,
    listing: Iterable[str] | None = None,
    exclude: Sequence[str] = (),
    photos_a_shard: int = PHOTOS_A_SHARD,
    progress: ProgressCallback = no_progress,
) -> ShardPlan:
    """Write a plan of the photos in a folder that a library must encode; the library stays as is.

    Args:
        store: the library, which is only read.
        config: its settings: the model, and those of [index].
        folder: of the photos.
        into: a new or empty folder, for the plan.
        listing: paths of photos relative to `folder`, as text, in place of a walk through it.
        exclude: patterns as in .gitignore of files and folders to leave out; not with a listing.
        photos_a_shard: photos of each shard but the last.
        progress: receives the number of photos found.

    Raises:
        PlanError: there is nothing to encode, `into` is not empty, or a listed path leads out of
            the folder.
        CheckpointMismatch, ConfigError, ModelError.
    """
    if photos_a_shard < 1:
        raise PlanError("A shard has at least one photo.")
    Exclusions.of(exclude)
    stored = recorded(store)
    _, _, plan = open_encoder(config, stored)
    policy = replace(policy_of(config), exclude=tuple(exclude))
    if listing is None:
        found = store.find_encoding(plan.encoding, model=plan.model)
        (result,) = scan_folders(store, [folder], found, rules=policy.rules, progress=progress)
        root = result.target.location.path
        paths: Iterable[str] = (file.path for file in result.target.to_load())
    else:
        root, paths = folder.resolve(), _inside(listing)
    return write_plan(
        into,
        paths,
        root=root,
        model=model_name(config, stored),
        encoding=plan.encoding,
        photos_a_shard=photos_a_shard,
        max_pixels=policy.max_pixels,
    )


def _inside(listing: Iterable[str]) -> Iterator[str]:
    for path in listing:
        if not is_inside(path):
            raise PlanError(f'"{path}" is not a path inside the folder of the photos.')
        yield path
