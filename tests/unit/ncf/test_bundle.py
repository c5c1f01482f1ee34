import gzip
import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from contracts import schemas
from contracts.golden import differences
from ncf import bundle as bundles
from ncf.bundle import BrokenBundle, encode_json, format
from ncf.bundle import archive as unpacking
from ncf.dataset import Pairs
from ncf.golden import golden
from ncf.item_fields import ItemFields
from ncf.network import Architecture, Recommender
from ncf.ranking import rank

SCHEMA = schemas.load("bundle")
NAMES = bundles.NAMES
ARCHITECTURE = Architecture("neumf", 4, (8, 4))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle") / "model"
    model = Recommender(ARCHITECTURE, 5, 7)
    model.reset_parameters(torch.Generator().manual_seed(1))
    bundles.write(
        directory,
        model=model,
        user_ids=[f"u{index}" for index in range(5)],
        item_ids=[f"i{index}" for index in range(7)],
        seen_indptr=np.array([0, 2, 3, 3, 4, 5]),
        seen_indices=np.array([0, 3, 1, 2, 6], dtype=np.int32),
        popularity=np.arange(7),
        run_id="v20260102t030405z-0a1b2c3d-r1",
        dataset_version="v20260102t030405z-0a1b2c3d",
        code_version="sha256:test",
        golden=golden,
        held_out=Pairs.of(np.array([0, 3]), np.array([3, 2]), 5, 7),
        categories=[["Drama"], [], ["Action", "Drama"], [], [], [], ["Action"]],
        fields=ItemFields.pack([{"title": "Ant", "price": 2}, *[{}] * 6]),
        withdrawn=np.array([5]),
        is_bought=np.array([True, False, True, True, False]),
    )
    return directory


@pytest.fixture
def directory(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "model"))


def reseal(directory: Path, **changes: Any) -> None:
    """Rewrite bundle.json with the hashes of the changed files, so that only their content is wrong."""
    manifest = json.loads((directory / bundles.MANIFEST).read_text()) | changes
    manifest["members"] = {name: format.measure(directory / name) for name in manifest["members"]}
    manifest["digest"] = format.digest(manifest)
    (directory / bundles.MANIFEST).write_bytes(encode_json(manifest))


def archive_of(directory: Path, path: Path, arcname: str = ".") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(directory, arcname=arcname)
    return path


def archive_with(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_reads_back_what_was_written(directory: Path) -> None:
    bundle = bundles.load(directory)
    assert bundle.user_index == {"u0": 0, "u1": 1, "u2": 2, "u3": 3, "u4": 4}
    assert bundle.item_ids[3] == "i3"
    assert bundle.seen(0).tolist() == [0, 3]
    assert bundle.seen(2).tolist() == []
    assert bundle.popularity.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert bundle.run_id == "v20260102t030405z-0a1b2c3d-r1"
    model: Any = bundle.model
    assert not model.training
    assert bundle.category_names == ["Action", "Drama"]
    assert bundle.item_categories == [[1], [], [0, 1], [], [], [], [0]]
    assert len(bundle.golden) == 4
    assert differences(bundle.golden, lambda request: rank(bundle, request)) == []


def test_a_bundle_without_categories_reads_as_one(directory: Path) -> None:
    (directory / bundles.CATEGORIES).unlink()
    manifest = json.loads((directory / bundles.MANIFEST).read_text())
    del manifest["members"][bundles.CATEGORIES]
    (directory / bundles.MANIFEST).write_bytes(encode_json(manifest))
    reseal(directory)
    bundle = bundles.load(directory)
    assert (bundle.category_names, bundle.item_categories) == ([], [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "must have exactly names and items"),
        ({"names": [""], "items": [[]] * 7}, "names must be a list of strings that are not empty"),
        ({"names": ["a", "a"], "items": [[]] * 7}, "has a name twice"),
        ({"names": ["a"], "items": [[]] * 6}, "items must be a list of 7"),
        ({"names": ["a"], "items": [[]] * 6 + [[1]]}, r"items\[6\] must be positions in names, not \[1\]"),
        ({"names": ["a"], "items": [[]] * 6 + [[True]]}, r"items\[6\] must be positions in names, not \[True\]"),
    ],
)
def test_invalid_categories_are_refused(content: Any, reason: str, directory: Path) -> None:
    (directory / bundles.CATEGORIES).write_bytes(encode_json(content))
    reseal(directory)
    with pytest.raises(BrokenBundle, match=f"item_categories.json: {reason}"):
        bundles.load(directory)


def test_bundle_json_is_valid_against_its_schema(directory: Path) -> None:
    schema = SCHEMA
    manifest = json.loads((directory / bundles.MANIFEST).read_text())
    jsonschema.Draft202012Validator(schema).validate(manifest)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(manifest | {"extra": 1})


@pytest.mark.parametrize("place", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", NAMES)
def test_a_changed_byte_is_found_in_any_member(name: str, place: float, directory: Path) -> None:
    content = bytearray((directory / name).read_bytes())
    position = int(place * (len(content) - 1))
    content[position] ^= 0x01
    (directory / name).write_bytes(content)
    with pytest.raises(BrokenBundle) as broken:
        bundles.load(directory)
    assert broken.value.member == name


def test_a_changed_run_id_is_found(directory: Path) -> None:
    path = directory / bundles.MANIFEST
    path.write_text(path.read_text().replace("-r1", "-r2"))
    with pytest.raises(BrokenBundle, match=r"bundle\.json: digest is not that of its content"):
        bundles.load(directory)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_member_is_found(name: str, directory: Path) -> None:
    (directory / name).unlink()
    with pytest.raises(BrokenBundle, match="is missing") as broken:
        bundles.load(directory)
    assert broken.value.member == name


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_member_is_found(name: str, directory: Path) -> None:
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BrokenBundle) as broken:
        bundles.load(directory)
    assert broken.value.member == name


def test_an_additional_file_is_refused(directory: Path) -> None:
    (directory / "model.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BrokenBundle, match=r"model\.pt: is no member of a bundle"):
        bundles.load(directory)


class Bomb:
    exploded = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (setattr, (Bomb, "exploded", True))


def test_a_pickle_instead_of_the_weights_is_refused_and_not_loaded(directory: Path) -> None:
    (directory / bundles.WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    reseal(directory)
    with pytest.raises(BrokenBundle, match=r"weights\.safetensors: cannot be read as safetensors"):
        bundles.load(directory)
    torch.save({"a": torch.zeros(1)}, directory / bundles.WEIGHTS)
    reseal(directory)
    with pytest.raises(BrokenBundle, match=r"weights\.safetensors: cannot be read as safetensors"):
        bundles.load(directory)
    assert not Bomb.exploded


def test_a_symbolic_link_is_refused(directory: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (directory / bundles.USERS).rename(target)
    (directory / bundles.USERS).symlink_to(target)
    with pytest.raises(BrokenBundle, match=r"user_ids\.json: is missing"):
        bundles.load(directory)


def change_weights(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = safetensors.torch.load_file(directory / bundles.WEIGHTS)
    change(weights)
    (directory / bundles.WEIGHTS).write_bytes(safetensors.torch.save(weights))
    reseal(directory)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, directory: Path) -> None:
    change_weights(directory, lambda weights: weights["output.weight"][0].fill_(value))
    with pytest.raises(BrokenBundle, match=r"weights\.safetensors: output\.weight holds NaN or infinity"):
        bundles.load(directory)


def test_weights_of_another_shape_are_refused(directory: Path) -> None:
    change_weights(directory, lambda weights: weights.update({"towers.0.user.weight": torch.zeros(6, 4)}))
    with pytest.raises(BrokenBundle, match=r"towers\.0\.user\.weight has shape \[6, 4\], not \[5, 4\]"):
        bundles.load(directory)


def test_weights_of_another_type_are_refused(directory: Path) -> None:
    change_weights(directory, lambda weights: weights.update({"output.bias": torch.zeros(1, dtype=torch.float64)}))
    with pytest.raises(BrokenBundle, match=r"output\.bias has type torch\.float64"):
        bundles.load(directory)


def test_weights_of_another_model_are_refused(directory: Path) -> None:
    reseal(directory, architecture={"model": "gmf", "factors": 4, "mlpLayers": [8, 4]})
    with pytest.raises(BrokenBundle, match=r"weights\.safetensors: does not hold the tensors of gmf"):
        bundles.load(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cardinalities": {"users": 6, "items": 7}}, r"user_ids\.json: has 5 ids, bundle\.json says 6"),
        ({"cardinalities": {"users": 5, "items": 8}}, r"item_ids\.json: has 7 ids, bundle\.json says 8"),
        ({"cardinalities": {"users": 5, "items": 0}}, r"cardinalities\.items must be an integer of at least 1, not 0"),
        ({"schemaVersion": "2.0"}, r"schemaVersion must be '1\.0', not '2\.0'"),
        ({"runId": 5}, r"runId must be a string that is not empty, not 5"),
        ({"cardinalities": {"users": 5}}, r"cardinalities\.items is missing; it must be an integer of at least 1"),
        (
            {"cardinalities": {"users": True, "items": 7}},
            r"cardinalities\.users must be an integer of at least 1, not True",
        ),
        ({"surplus": 1}, r"has an unknown key surplus"),
        (
            {"architecture": {"model": "neumf", "factors": 10**9, "mlpLayers": [8, 4]}},
            r"architecture: factors must be an integer from 1 to 4096",
        ),
    ],
)
def test_a_bundle_json_that_does_not_fit_is_refused(change: dict[str, Any], message: str, directory: Path) -> None:
    reseal(directory, **change)
    with pytest.raises(BrokenBundle, match=message):
        bundles.load(directory)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (bundles.USERS, ["a", "b", "c", "d", "a"], "has an id twice"),
        (bundles.USERS, ["a", "b", "c", "d", 5], "must be a list of strings"),
        (bundles.GOLDEN, [], "must be a list of at least one request"),
        (bundles.GOLDEN, [{"request": {}}], "entry 0 must have exactly request and response"),
    ],
)
def test_json_members_of_the_wrong_form_are_refused(name: str, content: Any, message: str, directory: Path) -> None:
    (directory / name).write_bytes(encode_json(content))
    reseal(directory)
    with pytest.raises(BrokenBundle, match=message) as broken:
        bundles.load(directory)
    assert broken.value.member == name


@pytest.mark.parametrize(
    ("indptr", "indices", "message"),
    [
        ([0, 2, 3, 3, 4, 4], [0, 3, 1, 2, 6], "indptr does not divide 5 items among 5 users"),
        ([0, 2, 3, 3, 5], [0, 3, 1, 2, 6], "indptr does not divide"),
        ([0, 3, 2, 3, 4, 5], [0, 3, 1, 2, 6], "indptr does not divide"),
        ([0, 2, 3, 3, 4, 5], [0, 3, 1, 2, 7], "indices must be from 0 to 6, not 0 to 7"),
        ([0, 2, 3, 3, 4, 5], [3, 0, 1, 2, 6], "not sorted and distinct"),
    ],
)
def test_seen_items_that_do_not_fit_are_refused(
    indptr: list[int], indices: list[int], message: str, directory: Path
) -> None:
    arrays: dict[str, Any] = {"indptr": np.array(indptr), "indices": np.array(indices, dtype=np.int32)}
    (directory / bundles.SEEN).write_bytes(safetensors.numpy.save(arrays))
    reseal(directory)
    with pytest.raises(BrokenBundle, match=message):
        bundles.load(directory)


def test_popularity_of_another_length_is_refused(directory: Path) -> None:
    (directory / bundles.POPULARITY).write_bytes(safetensors.numpy.save({"interactions": np.arange(6)}))
    reseal(directory)
    with pytest.raises(BrokenBundle, match=r"must hold a number of at least 0 for each of 7 items"):
        bundles.load(directory)


@pytest.mark.parametrize("arcname", [".", ""])
def test_an_archive_of_a_bundle_is_unpacked(arcname: str, directory: Path, tmp_path: Path) -> None:
    bundles.extract(archive_of(directory, tmp_path / "model.tar.gz", arcname), tmp_path / "unpacked")
    assert bundles.load(tmp_path / "unpacked").item_ids == bundles.load(directory).item_ids


def file(name: str) -> tarfile.TarInfo:
    return tarfile.TarInfo(name)


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        (file("../bundle.json"), b"x", r"\.\./bundle\.json: is not a path below the archive's folder"),
        (file("/bundle.json"), b"x", r"/bundle\.json: is not a path below the archive's folder"),
        (file("sub/bundle.json"), b"x", r"sub/bundle\.json: is no member"),
        (file("././bundle.json"), b"x", r"\./bundle\.json: is not a path below the archive's folder"),
        (file("model.pt"), b"x", r"model\.pt: is no member"),
        (
            link("bundle.json", "/etc/passwd", tarfile.SYMTYPE),
            b"",
            "bundle.json: is not a plain file but a symbolic link",
        ),
        (
            link("bundle.json", "weights.safetensors", tarfile.LNKTYPE),
            b"",
            "bundle.json: is not a plain file but a hard link",
        ),
        (link("bundle.json", "", tarfile.FIFOTYPE), b"", "bundle.json: is not a plain file but a named pipe"),
    ],
)
def test_an_archive_with_another_file_is_refused_and_leaves_nothing(
    member: tarfile.TarInfo, content: bytes, message: str, tmp_path: Path
) -> None:
    archive = archive_with(tmp_path / "model.tar.gz", (file("golden.json"), b"[]"), (member, content))
    with pytest.raises(BrokenBundle, match=message):
        bundles.extract(archive, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.tar.gz", "unpacked"]


def test_a_repeated_member_is_refused(tmp_path: Path) -> None:
    archive = archive_with(tmp_path / "model.tar.gz", (file("golden.json"), b"[]"), (file("golden.json"), b"[1]"))
    with pytest.raises(BrokenBundle, match=r"golden\.json: is in the archive twice"):
        bundles.extract(archive, tmp_path / "unpacked")


def test_an_archive_that_lacks_a_member_is_refused(tmp_path: Path) -> None:
    archive = archive_with(tmp_path / "model.tar.gz", (file("golden.json"), b"[]"))
    with pytest.raises(BrokenBundle, match=r"weights\.safetensors: is missing"):
        bundles.extract(archive, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"no tar" * 500)], ids=["empty", "no archive", "no tar"]
)
def test_a_file_that_is_not_an_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(content)
    with pytest.raises(BrokenBundle, match=r"model\.tar\.gz: the archive cannot be read"):
        bundles.extract(tmp_path / "model.tar.gz", tmp_path / "unpacked")


def test_a_truncated_archive_is_refused_and_leaves_nothing(directory: Path, tmp_path: Path) -> None:
    archive = archive_of(directory, tmp_path / "model.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(BrokenBundle, match=r"model\.tar\.gz: the archive cannot be read"):
        bundles.extract(archive, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_an_archive_that_unpacks_to_too_many_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "RATIO_FLOOR", 1 << 20)
    archive = archive_with(tmp_path / "model.tar.gz", (file("weights.safetensors"), bytes(8 << 20)))
    with pytest.raises(BrokenBundle, match="unpacks to more than"):
        bundles.extract(archive, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_does_not_unpack_into_a_folder_with_files(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        bundles.extract(archive_of(directory, tmp_path / "model.tar.gz"), directory)


def test_the_learned_pairs_are_the_seen_ones_without_the_held_out_ones(directory: Path) -> None:
    bundle = bundles.load(directory)
    # Seen: user 0 has items 0, 3; user 1 has 1; user 3 has 2; user 4 has 6. Held out: (0, 3) and (3, 2).
    assert bundle.learned().tolist() == [0 * 7 + 0, 1 * 7 + 1, 4 * 7 + 6]


@pytest.mark.parametrize(
    ("user", "item", "reason"),
    [([0], [1], "1 pairs that are not in"), ([0, 3], [3], "2 users and 1 items"), ([0], [-7], "1 pairs that are not")],
)
def test_held_out_pairs_that_are_not_seen_are_refused(
    user: list[int], item: list[int], reason: str, directory: Path
) -> None:
    pairs = {"user": np.array(user, dtype=np.int32), "item": np.array(item, dtype=np.int32)}
    (directory / "held_out.safetensors").write_bytes(safetensors.numpy.save(pairs))
    reseal(directory)
    with pytest.raises(BrokenBundle, match=reason):
        bundles.load(directory)


def test_a_bundle_without_held_out_pairs_takes_all_seen_ones_for_learned(directory: Path) -> None:
    (directory / "held_out.safetensors").unlink()
    manifest = json.loads((directory / bundles.MANIFEST).read_text())
    del manifest["members"]["held_out.safetensors"]
    reseal(directory, members=manifest["members"])
    assert bundles.load(directory).learned().size == 5


def test_a_bundle_keeps_what_was_bought(directory: Path) -> None:
    bundle = bundles.load(directory)
    left_out = {
        kind: [bundle.left_out(user, kind).tolist() for user in (0, 2, 4)] for kind in ("none", "bought", "any")
    }
    assert left_out == {"none": [[], [], []], "bought": [[0], [], []], "any": [[0, 3], [], [6]]}
    assert bundle.left_out(None, "any").size == 0
    (directory / "bought.safetensors").unlink()
    manifest = json.loads((directory / bundles.MANIFEST).read_text())
    del manifest["members"]["bought.safetensors"]
    reseal(directory, members=manifest["members"])
    assert bundles.load(directory).left_out(0, "bought").tolist() == [0, 3]


@pytest.mark.parametrize("values", [np.ones(4, np.bool_), np.full(5, 2, np.uint8).view(np.bool_)])
def test_refuses_what_does_not_tell_of_each_seen_pair_whether_it_was_bought(directory: Path, values: Any) -> None:
    (directory / "bought.safetensors").write_bytes(safetensors.numpy.save({"is_bought": values}))
    reseal(directory)
    with pytest.raises(BrokenBundle, match="is_bought must be true or false for each of 5 pairs"):
        bundles.load(directory)
