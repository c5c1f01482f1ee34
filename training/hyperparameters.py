"""The hyperparameters of a training: those of the run, and those that each model declares in its file.

They are given as text (`--name value`), in one flat list. A parameter that several models share has one name and one
value. All hyperparameters, also those of other models, are checked before any data is read.

"Validation" in a meaning is one interaction of each user, held out from the *train* part of MovieLens-1M in the split
of He et al. There are two such sets: the last interaction in the order of the file, and a random one. The defaults are
the best values on them. The figures on the test set were seen during this search (docs/reference/benchmarks.md).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from contracts.durations import seconds_of
from contracts.names import DATASET_VERSION, RUN_ID, SHA256
from ncf import parameters
from ncf.parameters import integer, matching, one_of, parameter
from ncf.registry import kinds

CODE_VERSION = re.compile(r"[!-~]{1,128}")
DEVICES = ("auto", "cpu", "cuda")


class InvalidHyperparameter(Exception):
    """A hyperparameter is missing, unknown or out of range; the message names it and says what it must be."""


def _time(text: str) -> str:
    """Read a length of time, or nothing."""
    try:
        if text:
            seconds_of(text)
    except ValueError as error:
        raise ValueError(f"{error}, or empty") from error
    return text


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """The hyperparameters of one training. `of(kind)` returns those of a model."""

    run_id: str = parameter(
        "Name of the retraining run: dataset version and attempt. It is written into every output file.",
        matching(RUN_ID, "a dataset version and -r<attempt>, such as v20261123t151300z-1a2b3c4d-r1"),
    )
    dataset_version: str = parameter(
        "Version of the dataset in the channel; its manifest must have the same version.",
        matching(DATASET_VERSION, "v<yyyymmdd>t<hhmmss>z-<8 hex>, such as v20261123t151300z-1a2b3c4d"),
    )
    code_version: str = parameter(
        "Version of this code (the image's digest). 1 to 128 printable characters without spaces.",
        matching(CODE_VERSION, "1 to 128 printable ASCII characters without spaces"),
    )
    model: str = parameter(
        f"{', '.join(sorted(kinds()))}; docs/reference/benchmarks.md compares them. ease is for catalogues "
        "of up to 20,000 items.",
        one_of(*sorted(kinds())),
        "neumf",
    )
    incumbent_digest: str = parameter(
        "Digest of the bundle in the channel incumbent, from bundle.json; another one is refused. Empty: any bundle.",
        matching(re.compile(f"({SHA256.pattern})?"), "64 lower-case hex digits, or empty"),
        "",
    )
    device: str = parameter("auto (cuda if there is one), cpu or cuda.", one_of(*DEVICES), "auto")
    evaluation_negatives: int = parameter(
        "Negatives per test user in the sampled protocol, 1 to 10000. 99 as in He et al., section 4.1.",
        integer(1, 10_000),
        99,
    )
    evaluation_k: int = parameter(
        "Length k of the lists for HR@k and NDCG@k, 1 to 100. 10 as in He et al., section 4.1.",
        integer(1, 100),
        10,
    )
    evaluation_users: int = parameter(
        "Maximum number of test users, 100 to 10000000; of more, the evaluation takes a seeded sample by activity. Its "
        "cost grows with them, and the standard errors in the report fall with their square root.",
        integer(100, 10_000_000),
        10_000,
    )
    search: str = parameter(
        "Time for a search of the model's hyperparameters on a validation part of train, before the training: 1s to "
        "24h, such as 10m. Empty: none. Those that differ from their defaults stay as they are.",
        _time,
        "",
    )
    of_models: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The values of parameters that models declare, by name; omitted ones have their defaults."""

    def __post_init__(self) -> None:
        match = RUN_ID.fullmatch(self.run_id)
        if not match or match[1] != self.dataset_version:
            raise InvalidHyperparameter(
                f"hyperparameter run_id must begin with dataset_version {self.dataset_version!r}, not {self.run_id!r}"
            )
        for kind in kinds():
            try:
                self.of(kind)
            except ValueError as error:
                raise InvalidHyperparameter(f"hyperparameter {error}") from error

    def of(self, kind: str) -> Any:
        """Return the parameters of a kind of model, an instance of its `Kind.parameters`."""
        declared = kinds()[kind].parameters
        names = {declaration.name for declaration in dataclasses.fields(declared)}
        return declared(**{name: value for name, value in self.of_models.items() if name in names})

    @property
    def chosen(self) -> Any:
        """The parameters of the model that is trained."""
        return self.of(self.model)

    @property
    def seed(self) -> int:
        seed: int = self.chosen.seed
        return seed

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> Hyperparameters:
        """Read texts. Raises InvalidHyperparameter, with the name of the first missing, unknown or invalid one."""
        try:
            values = parameters.read(known(), texts)
        except ValueError as error:
            raise InvalidHyperparameter(f"hyperparameter {error}") from error
        own = {name: values.pop(name) for name in _own() if name in values}
        return cls(**own, of_models=values)

    def to_dict(self) -> dict[str, Any]:
        """Return every hyperparameter by name, with the defaults."""
        return {
            name: getattr(self, name) if name in _own() else self.of_models.get(name, declared.default)
            for name, declared in known().items()
        }


@cache
def known() -> dict[str, dataclasses.Field[Any]]:
    """Return every hyperparameter by name: `metadata` has its `meaning` and its reader `read`.

    Raises RuntimeError if two models declare the same name separately.
    """
    of_models: dict[str, dataclasses.Field[Any]] = {}
    for kind in kinds().values():
        for declaration in dataclasses.fields(kind.parameters):
            name = declaration.name
            if name in _own() or of_models.setdefault(name, declaration) is not declaration:
                raise RuntimeError(f"the parameter {name} of the model {kind.name} is declared elsewhere too")
    first = ("run_id", "dataset_version", "code_version", "model")
    return {name: _own()[name] for name in first} | of_models | _own()


@cache
def _own() -> dict[str, dataclasses.Field[Any]]:
    """Return the hyperparameters of the run itself."""
    return {field.name: field for field in dataclasses.fields(Hyperparameters) if field.name != "of_models"}
