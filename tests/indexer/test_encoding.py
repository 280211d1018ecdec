"""What a stored vector is: as given, else as in the library, else the default."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from indexer.encoding import (
    EncodingPlan,
    check_decoder,
    model_name,
    newer_patch_vectors,
    recorded,
    resolve_encoding,
    wanted_dtype,
)
from mkt_search.errors import CheckpointMismatch, ConfigError
from mkt_search.models import recommended
from mkt_search.models.build import Model, open_model
from mkt_search.photos.decode import DECODER
from mkt_search.settings.config import Config, load
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.store import Store
from mkt_search.types import Encoding
from tests.tiny import GRID, tiny_checkpoint, tiny_clip

DEFAULT = Config()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny student: 4 x 4 patches, 16 dimensions, top_k 3."""
    return open_model(tiny_checkpoint(tmp_path_factory.mktemp("student")))


def given(tmp_path: Path, **flags: Any) -> Config:
    """Settings with these flags of [index]."""
    return load(tmp_path, flags={f"index.{key}": value for key, value in flags.items()})


def stored(model: Model, *, state: Any = "active", **changes: Any) -> StoredEncoding:
    """An encoding of the library in which no setting is the default."""
    encoding = Encoding(model.fingerprint, 16, GRID, "topk", 5, 2, "int4", "bfloat16")
    return StoredEncoding(1, replace(encoding, **changes), "the model", state)


def resolved(
    config: Config, old: StoredEncoding | None, model: Model, *, rebuild: bool = False
) -> EncodingPlan:
    return resolve_encoding(config, old, model, dtype="float32", rebuild=rebuild)


def settings_of(plan: EncodingPlan) -> tuple[Any, ...]:
    found = plan.encoding
    return found.pooling, found.m, found.top_k, found.precision


def test_a_new_library_takes_the_defaults_and_the_facts_of_the_model(model: Model) -> None:
    plan = resolved(DEFAULT, None, model)
    assert settings_of(plan) == ("cover", 16, 3, "int8")
    assert (plan.encoding.checkpoint, plan.encoding.dim) == (model.fingerprint, 16)
    assert (plan.encoding.grid, plan.encoding.dtype) == (GRID, "float32")
    assert (plan.model, plan.notice) == (model.name, "")


def test_what_is_not_given_is_as_in_the_library(model: Model, tmp_path: Path) -> None:
    plan = resolved(given(tmp_path, m=7), stored(model), model)
    assert settings_of(plan) == ("topk", 7, 2, "int4")
    assert plan.notice == ""


def test_a_rebuild_takes_the_defaults_and_names_what_changes(model: Model, tmp_path: Path) -> None:
    plan = resolved(given(tmp_path, m=7), stored(model), model, rebuild=True)
    assert settings_of(plan) == ("cover", 7, 3, "int8")
    assert plan.notice.endswith(
        "pooling topk -> cover, top_k 2 -> 3, precision int4 -> int8; "
        "keep it with --pooling topk --top-k 2 --precision int4"
    )


def test_a_rebuild_under_way_continues_as_it_began(model: Model) -> None:
    plan = resolved(DEFAULT, stored(model, state="building"), model, rebuild=True)
    assert settings_of(plan) == ("topk", 5, 2, "int4")
    assert plan.notice == ""


def test_the_number_of_patches_averaged_belongs_to_the_model(model: Model) -> None:
    old = stored(model, checkpoint="another one")
    plan = resolved(DEFAULT, old, model, rebuild=True)
    assert plan.encoding.top_k == 3
    assert "top_k" not in plan.notice


def test_every_patch_is_stored_as_float16(model: Model, tmp_path: Path) -> None:
    plan = resolved(given(tmp_path, pooling="all"), None, model)
    assert settings_of(plan) == ("all", 16, 3, "fp16")
    with pytest.raises(ConfigError, match="every patch is stored as float16, not int4"):
        resolved(given(tmp_path, pooling="all", precision="int4"), None, model)


def test_photos_are_never_decoded_in_two_ways_for_one_encoding(model: Model) -> None:
    assert resolved(DEFAULT, stored(model), model).encoding.decoder == DECODER
    check_decoder(stored(model, decoder=DECODER))
    with pytest.raises(CheckpointMismatch, match="mkt index --rebuild"):
        check_decoder(stored(model, decoder=DECODER + 1))


def test_the_number_format_is_that_of_the_stored_vectors_unless_given(
    model: Model, tmp_path: Path
) -> None:
    assert wanted_dtype(DEFAULT, None, model) == "auto"
    assert wanted_dtype(DEFAULT, stored(model), model) == "bfloat16"
    assert wanted_dtype(DEFAULT, stored(model, checkpoint="another one"), model) == "auto"
    config = load(tmp_path, flags={"model.dtype": "float32"})
    assert wanted_dtype(config, stored(model), model) == "float32"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A plain CLIP of random weights: 4 x 4 patches, 16 dimensions."""
    return open_model(tiny_clip(tmp_path_factory.mktemp("clip")))


def test_a_new_library_of_a_clip_takes_corrected_patch_vectors(clip: Model, model: Model) -> None:
    assert resolved(DEFAULT, None, clip).encoding.patch_vectors == "kk"
    assert resolved(DEFAULT, None, model).encoding.patch_vectors == "own"  # as it was trained


def test_an_old_library_of_a_clip_keeps_its_patch_vectors_and_says_what_a_rebuild_takes(
    clip: Model, model: Model
) -> None:
    old = stored(clip)
    assert resolved(DEFAULT, old, clip).encoding.patch_vectors == "own"
    assert "(patch_vectors own -> kk); `mkt index --rebuild`" in newer_patch_vectors(
        old.encoding, clip
    )
    assert newer_patch_vectors(replace(old.encoding, patch_vectors="value"), clip) == ""
    assert newer_patch_vectors(stored(model).encoding, model) == ""
    plan = resolved(DEFAULT, old, clip, rebuild=True)
    assert plan.encoding.patch_vectors == "kk"
    assert "patch_vectors own -> kk" in plan.notice
    assert "--patch-vectors own" in plan.notice
    under_way = stored(clip, state="building", patch_vectors="value")
    assert resolved(DEFAULT, under_way, clip, rebuild=True).encoding.patch_vectors == "value"


def test_patch_vectors_that_a_model_does_not_have_are_refused(
    clip: Model, model: Model, tmp_path: Path
) -> None:
    asked = load(tmp_path, flags={"model.patch_vectors": "value"})
    assert resolved(asked, None, clip).encoding.patch_vectors == "value"
    with pytest.raises(ConfigError, match="only its own: a trained student"):
        resolved(asked, None, model)


def named(name: str) -> Config:
    return replace(DEFAULT, model=replace(DEFAULT.model, checkpoint=name))


def test_a_model_is_named_so_that_it_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_checkpoint(tmp_path / "student")
    name, _, weights = tiny_clip(tmp_path / "clip").partition("/")
    assert model_name(named("student"), None) == str(tmp_path / "student")
    relative = f"{name}/clip/{Path(weights).name}"
    assert model_name(named(relative), None) == f"{name}/{weights}"
    assert model_name(named("ViT-B-16/openai"), None) == "ViT-B-16/openai"


def test_a_model_that_is_not_named_is_that_of_the_library(model: Model) -> None:
    assert model_name(DEFAULT, stored(model)) == "the model"
    assert model_name(DEFAULT, None) == recommended.DEFAULT


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / ".mkt")
    yield store
    store.close()


def test_a_run_continues_an_unfinished_rebuild_before_the_active_encoding(
    store: Store, model: Model
) -> None:
    assert recorded(store) is None
    encoding = stored(model).encoding
    with store.writing("test"):
        first = store.begin_encoding(encoding, model="first")
        assert recorded(store) == recorded(store, rebuild=True) == first
        second = store.begin_encoding(replace(encoding, m=6), model="second", rebuild=True)
    assert recorded(store) == recorded(store, rebuild=True) == second
