"""The training job: its arguments, SM_* variables, exit status and files."""

import json
import re
import shutil
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow.parquet as pq
import pytest
import torch

from container.job import measure_serving
from contracts import schemas
from contracts.golden import differences
from ncf import bundle as bundles
from ncf import dataset_files
from ncf.evaluation import Evaluation
from ncf.ranking import rank
from serving import latency
from serving.serve import CannotServe
from training import train
from training.hyperparameters import InvalidHyperparameter
from training.incumbent import IncumbentScorer

pytestmark = pytest.mark.slow

VERSION = "v20260102t030405z-0a1b2c3d"
SCHEMA = schemas.load("evaluation")
OUTPUTS = ["evaluation.json", "golden.json", "popular.json"]
Jobs = Callable[..., Any]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, shop_dataset: Path) -> Any:
    """A finished training with the defaults on a generated shop."""
    root = tmp_path_factory.mktemp("serving")
    environment = {
        "SM_CHANNEL_DATASET": str(shop_dataset),
        "SM_MODEL_DIR": str(root / "model"),
        "SM_OUTPUT_DIR": str(root / "output"),
        "SM_OUTPUT_DATA_DIR": str(root / "output" / "data"),
    }
    argv = ["--run_id", f"{VERSION}-r1", "--dataset_version", VERSION, "--code_version", "c", "--device", "cpu"]
    handler = signal.getsignal(signal.SIGTERM)
    status = train.main(argv, environment, measure_serving)
    signal.signal(signal.SIGTERM, handler)
    assert status == 0
    (root / "channel").mkdir()
    with tarfile.open(root / "channel" / "model.tar.gz", "w:gz") as archive:
        archive.add(root / "model", arcname=".")
    return root


def evaluation_of(root: Path) -> Any:
    return json.loads((root / "output" / "data" / "evaluation.json").read_text())


def validate(report: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(report)


def test_the_output_has_the_lines_that_the_metric_definitions_read(job: Jobs, shop_dataset: Path) -> None:
    done = job(shop_dataset, epochs=2, factors=8).run_process()
    assert (done.status, done.stderr) == (0, "")
    start, *epochs, last = (line for line in done.stdout.splitlines() if not line.startswith("note: "))
    assert "the model is the last of 2 epochs" in start
    number = r"\d+\.\d{4}"
    for index, line in enumerate(epochs, start=1):
        pattern = rf"epoch={index}/2 train_loss={number} samples_per_second=\d+ seconds=\d+\.\d\d"
        assert re.fullmatch(pattern, line)
    assert len(epochs) == 2
    figures = done.output("evaluation.json")["candidate"]
    assert last == (
        f"evaluation hit_rate_at_10={figures['sampled']['hitRate']:.4f} ndcg_at_10={figures['sampled']['ndcg']:.4f} "
        f"full_hit_rate_at_10={figures['full']['hitRate']:.4f} full_ndcg_at_10={figures['full']['ndcg']:.4f}"
    )


def test_the_defaults_beat_popularity_on_a_small_shop(serving: Path) -> None:
    report = evaluation_of(serving)
    validate(report)
    candidate, popularity = report["candidate"], report["baselines"]["popularity"]
    for protocol in ("sampled", "full"):
        for figure in ("hitRate", "ndcg"):
            assert candidate[protocol][figure] > popularity[protocol][figure]
    assert report["incumbent"] is None
    assert report["difference"] is None
    assert report["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert report["protocol"]["fewestNegatives"] == 48


def test_a_better_baseline_is_printed(job: Jobs, shop_dataset: Path) -> None:
    done = job(shop_dataset, model="mlp", epochs=1, learning_rate=1e-6).run()
    report = done.output("evaluation.json")
    ours = report["candidate"]["sampled"]["ndcg"]
    theirs = report["baselines"]["ease"]["sampled"]["ndcg"]
    assert theirs > ours
    assert f"note: NDCG is {theirs:.4f} for the baseline ease, {ours:.4f} for this mlp\n" in done.stdout


def test_a_closed_form_model_is_trained_and_bundled(job: Jobs, shop_dataset: Path) -> None:
    done = job(shop_dataset, model="ease").run()
    assert done.status == 0
    report = done.output("evaluation.json")
    validate(report)
    assert report["protocol"]["epoch"] == "closed-form"
    assert report["candidate"]["model"] == "ease"
    assert set(report["baselines"]) == {"popularity", "ease", "cooccurrence"}
    assert report["baselines"]["ease"]["difference"]["fullNdcg"] == {"mean": 0.0, "standardError": 0.0}
    assert bundles.load(done.model).model.name == "ease"


def test_a_search_is_in_the_report_and_its_hyperparameters_in_the_model(job: Jobs, shop_dataset: Path) -> None:
    done = job(shop_dataset, model="als", search="5s", als_iterations=2).run()
    assert done.status == 0, done.stderr
    report = done.output("evaluation.json")
    validate(report)
    search = report["search"]
    assert search["trials"] >= 2 and search["users"] > 100
    assert f"search: {search['sentence']}\n" in done.stdout
    factors = int(search["parameters"].get("factors", 64))
    assert json.loads((done.model / "bundle.json").read_text())["architecture"] == {"model": "als", "factors": factors}
    assert json.loads((done.checkpoints / "search.json").read_text())["end"] == "the time is used"
    assert "epoch=" not in done.stdout


def test_the_bundle_tells_the_event_types_of_its_data(job: Jobs, shop_dataset: Path, tmp_path: Path) -> None:
    dataset = shutil.copytree(shop_dataset, tmp_path / "with event types")
    manifest = json.loads((dataset / "manifest.json").read_text())
    (dataset / "manifest.json").write_text(json.dumps({**manifest, "eventTypes": {"view": 9, "buy": 3}}))
    done = job(dataset, model="popularity").run()
    assert done.status == 0, done.stderr
    assert bundles.load(done.model).event_types == {"view": 9, "buy": 3}


def test_the_bundle_answers_its_golden_requests(serving: Path) -> None:
    bundle = bundles.load(serving / "model")
    golden = json.loads((serving / "output" / "data" / "golden.json").read_text())
    assert golden == bundle.golden
    full, candidates, unknown, other, *with_history = golden
    assert [len(case["request"]["history"]) for case in with_history] == [4, 4]
    assert full["request"]["excludeSeen"]
    assert len(full["response"]["itemList"]) == 10
    seen = {bundle.item_ids[item] for item in bundle.seen(bundle.user_index[full["request"]["userId"]])}
    assert not seen & {item["itemId"] for item in full["response"]["itemList"]}
    assert candidates["response"]["unknownItems"] == 1
    assert other["request"]["userId"] != full["request"]["userId"]
    assert other["response"]["itemList"] != full["response"]["itemList"]
    assert (candidates["response"]["source"], unknown["response"]["source"]) == ("personalized", "popular")
    assert differences(golden, lambda request: rank(bundle, request)) == []


def test_the_bundle_tells_until_when_its_data_go(serving: Path, shop_dataset: Path) -> None:
    learned = pq.read_table(shop_dataset / "train")["timestamp"].to_numpy()
    assert bundles.load(serving / "model").manifest["learnedUntil"] == learned.max() + 1


def test_the_report_has_the_latency_of_the_server(serving: Path) -> None:
    measured = json.loads((serving / "output" / "data" / "evaluation.json").read_text())["serving"]
    assert measured["answers"] >= 4
    assert 0 < measured["p50Milliseconds"] <= measured["p99Milliseconds"]


def test_a_model_that_the_server_would_refuse_fails_the_training(
    job: Jobs, shop_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "load", refuse)
    done = job(shop_dataset, epochs=1).run()
    assert done.status == 1
    assert done.failure() == "the server would refuse this model: it answers otherwise\n"
    assert not list(done.model.iterdir())


def refuse(directory: Path) -> Any:
    raise CannotServe("it answers otherwise")


def test_seen_is_train_and_test(serving: Path, shop_pairs: list[tuple[str, str]]) -> None:
    bundle = bundles.load(serving / "model")
    items = {bundle.item_ids[item] for item in bundle.seen(bundle.user_index["u003"])}
    assert items == {item for user, item in shop_pairs if user == "u003"}


def test_the_bundle_and_popular_json_have_the_categories_of_items(
    tmp_path: Path, write: Callable[..., Path], shop_pairs: list[tuple[str, str]], job: Callable[..., Any]
) -> None:
    categories = {"i000": "Drama| Action |", "i003": "Drama"}
    dataset = write(tmp_path / "categories", shop_pairs, categories=categories)
    done = job(dataset, model="popularity").run()
    assert done.status == 0, done.stderr
    bundle = bundles.load(done.model)
    names = [[bundle.category_names[place] for place in item] for item in bundle.item_categories]
    assert {item: own for item, own in zip(bundle.item_ids, names, strict=True) if own} == {
        "i000": ["Action", "Drama"],
        "i003": ["Drama"],
    }
    popular = done.output("popular.json")["itemList"]
    assert {entry["itemId"]: entry["categories"] for entry in popular if entry["categories"]} == {
        "i000": ["Action", "Drama"],
        "i003": ["Drama"],
    }


def test_popular_json_is_ordered_by_interactions_in_train(serving: Path, shop_dataset: Path) -> None:
    popular = json.loads((serving / "output" / "data" / "popular.json").read_text())
    dataset = dataset_files.load(shop_dataset, VERSION)
    expected = sorted(zip(-dataset.popularity, dataset.item_ids, strict=True))
    assert [(-item["score"], item["itemId"]) for item in popular["itemList"]] == expected
    assert {name: popular[name] for name in ("schemaVersion", "runId", "datasetVersion")} == {
        "schemaVersion": "1.0",
        "runId": f"{VERSION}-r1",
        "datasetVersion": VERSION,
    }


def test_the_incumbent_is_measured_on_the_same_test_set(job: Jobs, serving: Path, shop_dataset: Path) -> None:
    of_chance = {"epochs": 1, "learning_rate": 1e-6, "start": "random", "recent_neighbours": 0}
    done = job(shop_dataset, incumbent=serving / "channel", **of_chance).run()
    assert done.status == 0
    report = done.output("evaluation.json")
    validate(report)
    first = evaluation_of(serving)["candidate"]
    assert {name: report["incumbent"][name] for name in first} == first
    assert report["incumbent"]["runId"] == f"{VERSION}-r1"
    for name, figure in (("sampledNdcg", "ndcg"), ("sampledHitRate", "hitRate")):
        mean = report["candidate"]["sampled"][figure] - report["incumbent"]["sampled"][figure]
        interval = report["difference"][name]
        assert interval["mean"] == pytest.approx(mean)
        assert interval["lower"] < mean < interval["upper"] < 0


def test_the_incumbent_serves_new_users_its_popular_items_and_ranks_new_items_last(
    serving: Path, shop_pairs: list[tuple[str, str]], tmp_path: Path, write: Callable[..., Path]
) -> None:
    incumbent = bundles.load(serving / "model")
    rows = [("a-new-user", "i001"), ("a-new-user", "a-new-item"), ("another", "a-new-item"), *shop_pairs]
    dataset = dataset_files.load(write(tmp_path / "newer", rows), VERSION)
    scorer = IncumbentScorer(incumbent, dataset.user_ids, dataset.item_ids, torch.device("cpu"))
    users = torch.tensor([dataset.user_ids.index("a-new-user"), dataset.user_ids.index("u003")])
    scores = scorer.catalogue(users)
    own = [dataset.item_ids.index(item) for item in incumbent.item_ids]
    assert scores[0, own].tolist() == incumbent.popularity.tolist()
    torch.testing.assert_close(
        scores[1, own], incumbent.model.catalogue(torch.tensor([incumbent.user_index["u003"]]))[0]
    )
    new = dataset.item_ids.index("a-new-item")
    assert (scores.argmin(dim=1) == new).all()
    everything = torch.arange(dataset.items).expand(2, -1)
    torch.testing.assert_close(scorer.pairs(users, everything), scores)
    report = Evaluation(dataset, k=10, negatives=20, seed=1, device="cpu").measure(scorer)
    assert report.sampled_hits[dataset.test.item == new].tolist() == [0.0]


def break_archive(channel: Path) -> None:
    archive = channel / "model.tar.gz"
    archive.write_bytes(archive.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda channel: (channel / "model.tar.gz").unlink(), "model.tar.gz: is not in the incumbent channel"),
        (break_archive, "model.tar.gz: the archive cannot be read"),
    ],
)
@pytest.mark.fault("E09")
def test_an_incumbent_that_cannot_be_read_fails_the_job(
    damage: Callable[[Path], object], reason: str, job: Jobs, serving: Path, shop_dataset: Path, tmp_path: Path
) -> None:
    channel = Path(shutil.copytree(serving / "channel", tmp_path / "channel"))
    damage(channel)
    done = job(shop_dataset, incumbent=channel).run()
    assert done.status == 1
    assert done.failure().startswith("the incumbent cannot be read, so the model cannot be compared with it: " + reason)
    assert list(done.model.iterdir()) == []
    assert "epoch=" not in done.stdout


def test_the_incumbent_of_the_given_digest_is_measured(job: Jobs, serving: Path, shop_dataset: Path) -> None:
    digest = bundles.load(serving / "model").digest
    done = job(shop_dataset, incumbent=serving / "channel", model="popularity", incumbent_digest=digest).run()
    assert done.status == 0, done.stderr
    assert done.output("evaluation.json")["incumbent"]["runId"] == f"{VERSION}-r1"


@pytest.mark.fault("E09")
def test_an_incumbent_with_another_digest_fails_the_job(job: Jobs, serving: Path, shop_dataset: Path) -> None:
    digest = bundles.load(serving / "model").digest
    done = job(shop_dataset, incumbent=serving / "channel", incumbent_digest="0" * 64).run()
    assert done.status == 1
    assert done.failure() == (
        "the incumbent cannot be read, so the model cannot be compared with it: bundle.json: "
        f"digest is {digest}, not {'0' * 64}, which serves: the archive was changed\n"
    )
    assert list(done.model.iterdir()) == []
    assert "epoch=" not in done.stdout


@pytest.mark.fault("E15")
def test_data_with_fewer_users_than_the_incumbents_which_they_continue_fail_the_job(
    job: Jobs, serving: Path, tmp_path: Path, write: Callable[..., Path], shop_pairs: list[tuple[str, str]]
) -> None:
    later = "v20260103t030405z-0a1b2c3d"
    dataset = write(tmp_path / later, [pair for pair in shop_pairs if pair[0] != "u007"], version=later)
    manifest = json.loads((dataset / "manifest.json").read_text())
    (dataset / "manifest.json").write_text(json.dumps({**manifest, "parentVersion": VERSION}))
    done = job(dataset, incumbent=serving / "channel", dataset_version=later, run_id=f"{later}-r1").run()
    assert done.status == 1
    assert done.failure() == (
        f"dataset file users/: has 119 users, fewer than the 120 of its parent {VERSION}, whose indices it continues: "
        "prepare the data again\n"
    )
    assert "epoch=" not in done.stdout


def test_the_report_names_the_bundle_that_was_measured(serving: Path) -> None:
    assert evaluation_of(serving)["bundleDigest"] == bundles.load(serving / "model").digest


def test_a_training_that_diverges_leaves_a_reason_and_no_model(job: Jobs, shop_dataset: Path) -> None:
    done = job(shop_dataset, learning_rate=1e9).run()
    assert done.status == 1
    assert re.fullmatch(r".*in epoch 1 of 15, with learning_rate 1e\+09: .*smaller learning_rate\n", done.failure())
    assert done.failure().strip() in done.stderr
    assert list(done.model.iterdir()) == []
    assert not (done.root / "output" / "data").exists()


def test_a_bad_hyperparameter_is_refused_before_any_data_is_read(job: Jobs, tmp_path: Path) -> None:
    done = job(tmp_path / "no dataset", epochs=0).run()
    assert done.status == 1
    assert done.failure() == "hyperparameter epochs must be an integer from 1 to 1000, not '0'\n"


def test_a_broken_dataset_is_named_in_the_failure(job: Jobs, tmp_path: Path, write: Callable[..., Path]) -> None:
    dataset = write(tmp_path / "dataset", [("u", "a"), ("v", "b"), ("u", "b"), ("v", "a")])
    (dataset / "train" / "part-00000.parquet").unlink()
    done = job(dataset).run()
    assert done.status == 1
    assert done.failure() == "dataset file train/part-00000.parquet: is missing\n"
    assert list(done.model.iterdir()) == []


def test_a_failed_attempt_removes_the_model_of_an_earlier_one(job: Jobs, serving: Path, shop_dataset: Path) -> None:
    again = job(shop_dataset, learning_rate=1e9)
    shutil.copytree(serving / "model", again.model)
    assert again.run().status == 1
    assert list(again.model.iterdir()) == []


def test_another_file_in_the_model_directory_is_named(job: Jobs, shop_dataset: Path) -> None:
    strange = job(shop_dataset)
    strange.model.mkdir(parents=True)
    (strange.model / "notes.txt").write_text("mine")
    assert strange.run().status == 1
    assert strange.failure() == "SM_MODEL_DIR has files that are not part of a model bundle: notes.txt\n"
    assert (strange.model / "notes.txt").read_text() == "mine"


def test_all_missing_variables_are_named(job: Jobs, tmp_path: Path) -> None:
    incomplete = job(tmp_path)
    for name in ("SM_CHANNEL_DATASET", "SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR"):
        del incomplete.environment[name]
    assert incomplete.run().status == 1
    assert incomplete.failure() == "the environment lacks SM_CHANNEL_DATASET, SM_MODEL_DIR, SM_OUTPUT_DATA_DIR\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epoch", "3"], "hyperparameter epoch is not known"),
        (["--epochs"], "expected one argument"),
        (["stray"], "hyperparameter stray is not known"),
    ],
)
def test_arguments_that_cannot_be_read_are_named(argv: list[str], message: str) -> None:
    with pytest.raises(InvalidHyperparameter, match=message):
        train.parse(argv)
