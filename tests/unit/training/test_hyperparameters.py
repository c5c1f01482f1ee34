import dataclasses

import pytest

from ncf.parameters import text_of
from ncf.registry import kinds
from training.hyperparameters import Hyperparameters, InvalidHyperparameter, known

NEEDED = {
    "run_id": "v20260102t030405z-0a1b2c3d-r1",
    "dataset_version": "v20260102t030405z-0a1b2c3d",
    "code_version": "sha256:1a2b",
}


def test_reads_texts_into_values() -> None:
    read = Hyperparameters.read(
        NEEDED | {"model": "mlp", "mlp_layers": "16,8", "learning_rate": "1e-2", "epochs": "3", "dropout": "0.5"}
    )
    mlp = read.chosen
    assert (read.model, mlp.mlp_layers, mlp.learning_rate, mlp.epochs, mlp.dropout) == ("mlp", (16, 8), 0.01, 3, 0.5)
    assert mlp.architecture("mlp").to_dict() == {"model": "mlp", "factors": 64, "mlpLayers": [16, 8]}


def test_each_default_is_in_its_own_range() -> None:
    for name, parameter in known().items():
        if parameter.default is not dataclasses.MISSING:
            text = text_of(parameter.default)
            assert Hyperparameters.read(NEEDED | {name: text}).to_dict()[name] == parameter.default


def test_each_hyperparameter_has_a_meaning() -> None:
    assert all(len(parameter.metadata["meaning"]) > 20 for parameter in known().values())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("epochs", "0", "must be an integer from 1 to 1000, not '0'"),
        ("epochs", "1.5", "must be an integer from 1 to 1000, not '1.5'"),
        ("epochs", "1_0", "must be an integer"),
        ("epochs", "", "must be an integer"),
        ("epochs", "٣", "must be an integer"),
        ("batch_size", "-1", "must be an integer from 1 to 1048576, not '-1'"),
        ("factors", "x", "must be an integer from 1 to 4096, not 'x'"),
        ("learning_rate", "0", "must be a number above 0, not '0'"),
        ("learning_rate", "nan", "must be a number above 0, not 'nan'"),
        ("learning_rate", "inf", "must be a number above 0, not 'inf'"),
        ("learning_rate", "fast", "must be a number above 0, not 'fast'"),
        ("learning_rate", "٠.٥", "must be a number above 0, not '٠.٥'"),
        ("learning_rate", "0.0_1", "must be a number above 0, not '0.0_1'"),
        ("l2", "-0.1", "must be a number from 0 to 1, not '-0.1'"),
        ("dropout", "1", "must be a number from 0 to below 1, not '1'"),
        ("seed", "-1", "must be an integer from 0 to"),
        ("seed", "9223372036854775808", "must be an integer from 0 to 9223372036854775807"),
        ("model", "svd", f"must be one of {', '.join(sorted(kinds()))}, not 'svd'"),
        ("device", "tpu", "must be one of auto, cpu, cuda, not 'tpu'"),
        ("mlp_layers", "64;32", "must be integers with commas between, such as 64,32,16, not '64;32'"),
        ("mlp_layers", "63,32", "must begin with an even number"),
        ("mlp_layers", "64,0", "must be 1 to 16 integers from 1 to 4096"),
        ("negatives_per_positive", "0", "must be an integer from 1 to 100"),
        ("evaluation_negatives", "0", "must be an integer from 1 to 10000"),
        ("evaluation_k", "101", "must be an integer from 1 to 100"),
        ("run_id", "run 1", "must be a dataset version and -r<attempt>"),
        ("run_id", "v20270102t030405z-0a1b2c3d-r1", "must begin with dataset_version"),
        ("dataset_version", "latest", "must be v<yyyymmdd>t<hhmmss>z-<8 hex>"),
        ("code_version", "a b", "must be 1 to 128 printable ASCII characters without spaces"),
        ("incumbent_digest", "C4" * 32, "must be 64 lower-case hex digits, or empty"),
        ("incumbent_digest", "c4" * 31, "must be 64 lower-case hex digits, or empty"),
        ("learning_rte", "0.1", "is not known; known are run_id, "),
    ],
)
def test_an_invalid_hyperparameter_is_refused_by_name(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidHyperparameter) as refused:
        Hyperparameters.read(NEEDED | {name: text})
    assert str(refused.value).startswith(f"hyperparameter {name} ")
    assert message in str(refused.value)


def test_refuses_too_many_factors_in_total() -> None:
    with pytest.raises(InvalidHyperparameter, match="fusion_factors must be at most 4096 together with factors 4000"):
        Hyperparameters.read(NEEDED | {"factors": "4000"})
    assert Hyperparameters.read(NEEDED | {"factors": "4000", "fusion": "0"}).chosen.factors == 4000


@pytest.mark.parametrize("name", NEEDED)
def test_refuses_a_missing_hyperparameter(name: str) -> None:
    with pytest.raises(InvalidHyperparameter, match=f"hyperparameter {name} is missing"):
        Hyperparameters.read({key: value for key, value in NEEDED.items() if key != name})
