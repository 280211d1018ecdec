"""A checkpoint is written atomically, and a damaged one is refused with a reason."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from mkt_search.errors import ModelError
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.models.checkpoint import META, PROMPT, STUDENT, Prompt
from mkt_search.models.label_table import LabelTable
from mkt_search.types import ImageSpec
from tests.tiny import tiny_checkpoint, tiny_meta, tiny_student, tiny_table


def test_meta_is_read_as_it_was_written(tmp_path: Path) -> None:
    meta = tiny_meta(
        image=ImageSpec(32, 48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "crop"),
        grid=(4, 6),
        prompt=Prompt("ViT-B-16", "openai"),
        trained={"epochs": 3, "labels": "Bäume"},
        results={"zsl": 0.13},
    )
    context = torch.ones(6, 32)
    written = checkpoint.write(tmp_path / "c", meta, tiny_student().state(), context=context)
    assert checkpoint.read_meta(tmp_path / "c") == written
    assert replace(written, files={}) == meta
    assert set(written.files) == {STUDENT, PROMPT}


def test_the_fingerprint_follows_the_weights_and_their_use(tmp_path: Path) -> None:
    state, other = tiny_student().state(), tiny_student(seed=1).state()
    variants = {
        "same": (tiny_meta(), state),
        "weights": (tiny_meta(), other),
        "mean": (tiny_meta(image=ImageSpec(32, 32, (0, 0, 0), (1, 1, 1))), state),
        "heads": (tiny_meta(heads="shared"), state),
        "options": (tiny_meta(options={"pad_type": "same"}), state),
    }
    found = set()
    for name, (meta, tensors) in variants.items():
        checkpoint.write(tmp_path / name, meta, tensors)
        found.add(checkpoint.fingerprint(tmp_path / name))
    assert len(found) == len(variants)
    assert all(len(item) == 12 and int(item, 16) >= 0 for item in found)


def test_a_meta_of_an_earlier_version_keeps_its_meaning_and_its_fingerprint(
    tmp_path: Path,
) -> None:
    crop = ImageSpec(32, 32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "crop")
    meta = tiny_meta(image=crop, prompt=Prompt("ViT-B-16", "openai"))
    checkpoint.write(tmp_path / "c", meta, {"weight": torch.zeros(1)})
    raw = json.loads((tmp_path / "c" / META).read_text())
    del raw["image"]["shorter_side"], raw["prompt"]["lengths"]  # they came later
    (tmp_path / "c" / META).write_text(json.dumps(raw))
    assert replace(checkpoint.read_meta(tmp_path / "c"), files={}) == meta
    assert checkpoint.fingerprint(tmp_path / "c") == "8dafe0231f5a"
    raw["image"]["shorter_side"] = 36
    (tmp_path / "c" / META).write_text(json.dumps(raw))
    assert checkpoint.fingerprint(tmp_path / "c") != "8dafe0231f5a"
    raw["image"]["shorter_side"] = 16
    (tmp_path / "c" / META).write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=r"meta.json .*shorter_side 16"):
        checkpoint.read_meta(tmp_path / "c")


def test_unequal_streams_are_written_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    state = tiny_student().state()
    equal = checkpoint.write(tmp_path / "equal", tiny_meta(), state)
    unequal = checkpoint.write(tmp_path / "unequal", tiny_meta(local_share=0.7), state)
    assert "local_share" not in json.loads((tmp_path / "equal" / META).read_text())
    assert (equal.format, unequal.format) == (1, 3)
    assert checkpoint.read_meta(tmp_path / "unequal") == unequal
    assert checkpoint.fingerprint(tmp_path / "equal") != checkpoint.fingerprint(
        tmp_path / "unequal"
    )
    model = open_model(tmp_path / "unequal")
    assert model.photo_encoder(device="cpu", dtype="float32").local_share == 0.7


@pytest.mark.parametrize("share", [0, 1, float("nan"), "0.7", True])
def test_a_share_that_is_no_share_is_refused(share: object) -> None:
    with pytest.raises(ValueError, match="share of the local stream"):
        tiny_meta(local_share=share)


def test_the_fingerprint_ignores_path_provenance_results_and_labels(tmp_path: Path) -> None:
    state = tiny_student().state()
    checkpoint.write(tmp_path / "a", tiny_meta(), state)
    trained = tiny_meta(trained={"epochs": 3}, results={"map": 1.0}, top_k=7)
    checkpoint.write(tmp_path / "deep/b", trained, state, labels=tiny_table())
    assert checkpoint.fingerprint(tmp_path / "a") == checkpoint.fingerprint(tmp_path / "deep/b")


def test_a_replaced_checkpoint_leaves_no_files_behind(tmp_path: Path) -> None:
    first = checkpoint.fingerprint(tiny_checkpoint(tmp_path / "c"))
    checkpoint.write(tmp_path / "c", tiny_meta(), tiny_student(seed=1).state())
    assert checkpoint.fingerprint(tmp_path / "c") != first
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [META, STUDENT]


def test_a_write_that_fails_keeps_the_former_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = checkpoint.fingerprint(tiny_checkpoint(tmp_path / "c"))

    def full(_table: LabelTable, _path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LabelTable, "save", full)
    with pytest.raises(ModelError, match=r"cannot be written: No space left.*make room"):
        tiny_checkpoint(tmp_path / "c", seed=1)
    assert checkpoint.fingerprint(tmp_path / "c") == first
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_anything_but_a_checkpoint_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    for name in ("photos", "file"):
        with pytest.raises(ModelError, match="exists and is not a checkpoint; name another"):
            tiny_checkpoint(tmp_path / name)
    (tmp_path / "empty").mkdir()
    tiny_checkpoint(tmp_path / "empty")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_tuned_checkpoint_has_the_files_of_its_source_and_another_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def without_links(_target: Path, _source: Path) -> None:
        raise OSError(95, "Operation not supported")

    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", without_links)
    meta = tiny_meta(prompt=Prompt("clip", ""), local_share=0.7)
    source = tmp_path / "source"
    meta = checkpoint.write(source, meta, tiny_student().state(), context=torch.ones(6, 32))
    (source / "clip").mkdir()
    (source / "clip/open_clip_config.json").write_text("{}")
    tuned = checkpoint.write_tuned(
        tmp_path / "tuned", replace(meta, results={"zsl": 0.5}), source, context=torch.zeros(6, 32)
    )
    assert checkpoint.read_meta(tmp_path / "tuned") == tuned
    assert tuned.files[STUDENT] == meta.files[STUDENT]
    assert tuned.files[PROMPT] != meta.files[PROMPT]
    for name in (STUDENT, "clip/open_clip_config.json"):
        assert (tmp_path / "tuned" / name).read_bytes() == (source / name).read_bytes()
        assert (tmp_path / "tuned" / name).samefile(source / name) == has_links
    assert checkpoint.fingerprint(tmp_path / "tuned") == checkpoint.fingerprint(source)


def test_symbolic_links_of_the_source_become_files(tmp_path: Path) -> None:
    meta = tiny_meta(prompt=Prompt("m", "w"))
    source = tmp_path / "deep/er/source"
    meta = checkpoint.write(source, meta, tiny_student().state())
    (source / STUDENT).rename(tmp_path / "blob")
    (source / STUDENT).symlink_to("../../../blob")  # as caches of downloads keep them
    checkpoint.write_tuned(tmp_path / "tuned", meta, source, context=torch.zeros(6, 32))
    assert checkpoint.checked_bytes(tmp_path / "tuned", STUDENT, meta)
    assert not (tmp_path / "tuned" / STUDENT).is_symlink()


def test_a_full_disk_is_refused_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path) -> None:
        raise SafetensorError("I/O error: No space left on device")

    tiny_checkpoint(tmp_path / "made")
    before = (tmp_path / "made" / STUDENT).read_bytes()
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(ModelError, match=r"made cannot be written: .*No space left.*make room"):
        tiny_checkpoint(tmp_path / "made", seed=1)
    assert (tmp_path / "made" / STUDENT).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("prompt", [Prompt("../clip", ""), Prompt("m", "../clip/w.pt")])
def test_a_text_tower_beside_the_source_is_found_from_another_folder(
    tmp_path: Path, prompt: Prompt
) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip/w.pt").write_bytes(b"x")
    source = tmp_path / "source"
    meta = checkpoint.write(source, tiny_meta(prompt=prompt), tiny_student().state())
    out = tmp_path / "far/away"
    tuned = checkpoint.write_tuned(out, meta, source, context=torch.zeros(6, 32)).prompt
    assert tuned is not None
    assert (out / (tuned.weights or tuned.model)).exists()


def test_a_source_without_one_of_its_files_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    meta = checkpoint.write(source, tiny_meta(prompt=Prompt("m", "w")), tiny_student().state())
    (source / STUDENT).unlink()
    with pytest.raises(ModelError, match=r"the checkpoint .*source cannot be copied.*No such file"):
        checkpoint.write_tuned(tmp_path / "tuned", meta, source, context=torch.zeros(6, 32))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_changed_or_missing_file_is_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "c")
    meta = checkpoint.read_meta(folder)
    data = bytearray((folder / STUDENT).read_bytes())
    assert checkpoint.checked_bytes(folder, STUDENT, meta) == data
    data[-1] ^= 1
    (folder / STUDENT).write_bytes(data)
    with pytest.raises(ModelError, match=r"student\.safetensors is not the file that meta\.json"):
        checkpoint.checked_bytes(folder, STUDENT, meta)
    (folder / STUDENT).unlink()
    with pytest.raises(ModelError, match="is incomplete"):
        checkpoint.checked_bytes(folder, STUDENT, meta)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99 is newer than this program; upgrade it"),
        ({"format": "1"}, "format must be a whole number"),
        ({"wings": 2}, "unknown key 'wings'"),
        *(({"grid": value}, "not a description of") for value in (4, [4], [0, 4], ["4", 4], None)),
        ({"grid": [10_000, 10_000]}, "patches must be a whole number from 1 to 65,536"),
        ({"image": {"height": 3}}, "not a description of a checkpoint"),
        *(
            ({"dim": value}, "dim must be a whole number from 1 to 16,384")
            for value in (10**9, 10**400, "x", -1, 0, [8], 8.0, True, None)
        ),
        ({"top_k": 10**9}, "top_k must be a whole number"),
        *(({"backbone": value}, "the backbone cannot be") for value in ("hf-hub:a/b", "../x", 7)),
        ({"library": "torch"}, "the library"),
        ({"heads": ["linear"]}, "the library or the kind of the heads"),
        ({"options": {"checkpoint_path": "w.pth"}}, "'checkpoint_path' is not allowed"),
        ({"options": {"depth": 1_000_000}}, "the option depth cannot be 1000000"),
        ({"options": []}, "options is not an object"),
        ({"files": {"../victim": "0" * 64}}, "is not the name of a file in its folder"),
        ({"files": {"student.safetensors": "x"}}, "is no SHA-256"),
        ({"prompt": {"model": 7, "weights": ""}}, "the model of the prompt"),
        ({"prompt": {"model": "a", "weights": "", "lengths": "x"}}, "the lengths of the prompt"),
        ({"prompt": {"path": "x"}}, "not a description of a checkpoint"),
        ({"trained": {"seen": 7}}, "the seen labels are not a list of text"),
        ({"trained": {"settings": 7}}, "settings of the training"),
        ({"results": 7}, "results is not an object"),
    ],
)
def test_a_malformed_meta_is_refused_with_a_reason(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tiny_checkpoint(tmp_path / "c") / META
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=message):
        checkpoint.read_meta(path.parent)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("width", value) for value in (1_000_000, 0, "x", 3.5, None)),
        *(("mean", value) for value in ([0], "xyz", [1, 2, "3"], [0, 0, float("nan")], 7)),
        *(("std", value) for value in ([0, 1, 1], [1, 1, -1], [1, 1, float("inf")])),
        ("resize", "stretch"),
        ("shorter_side", 10**9),
    ],
)
def test_a_malformed_input_is_refused(tmp_path: Path, name: str, value: object) -> None:
    path = tiny_checkpoint(tmp_path / "c") / META
    raw = json.loads(path.read_text())
    raw["image"][name] = value
    path.write_text(json.dumps(raw))
    with pytest.raises(ModelError, match="is not a description of a checkpoint"):
        checkpoint.read_meta(path.parent)


@pytest.mark.parametrize("name", ["\\\\host\\share\\clip", "//host/share/clip.pt", "\\/host/share"])
def test_a_prompt_names_no_file_on_another_machine(name: str) -> None:
    for named in ({"model": name, "weights": ""}, {"model": "ViT-B-16", "weights": name}):
        with pytest.raises(ValueError, match="on another machine"):
            Prompt(**named)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"x"', "{}", "7", "[" * 100_000, '{"dim": ' + "9" * 5_000 + "}"]
)
def test_a_meta_that_is_not_json_is_refused_with_a_reason(tmp_path: Path, text: str) -> None:
    (tmp_path / META).write_text(text)
    with pytest.raises(ModelError, match=r"meta\.json"):
        checkpoint.read_meta(tmp_path)


def test_a_directory_without_meta_is_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a checkpoint: there is no meta\.json in it"):
        checkpoint.read_meta(tmp_path)


def test_a_meta_of_many_megabytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / META).write_bytes(bytes(10_000_000))
    with pytest.raises(ModelError, match=r"meta\.json: cannot be read \(larger than"):
        checkpoint.read_meta(tmp_path)
