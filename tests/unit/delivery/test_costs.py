"""The costs of docs/reference/costs.md are those of samconfig.toml."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from delivery import costs
from delivery.preflight import settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("environment", costs.ENVIRONMENTS)
def test_every_machine_of_an_environment_has_a_price(environment: str) -> None:
    assert costs.month(settings.read(ROOT, environment)).endpoint > 0


def test_a_month_is_the_sum_of_its_parts() -> None:
    found = settings.read(ROOT, "dev")
    values = {
        **found.values,
        "EndpointInstanceType": "ml.m5.large",
        "EndpointInstanceCount": "2",
        "TrainingInstanceType": "ml.m5.xlarge",
        "TrainingInstanceCount": "1",
        "TrainingUseSpot": "false",
        "PreparationCapacity": "small",
    }
    resources = {name: {"Type": f"AWS::{name}"} for name in ("CloudWatch::Alarm", "KMS::Key", "S3::Bucket")}
    template = {**found.template, "Resources": resources}
    month = costs.month(dataclasses.replace(found, values=values, template=template))
    assert month.machines == "2 × ml.m5.large"
    assert month.endpoint == pytest.approx(2 * 0.115 * 730)
    assert month.training == pytest.approx(0.23 * 30 / 4)
    assert month.preparation == pytest.approx((8 * 0.0421 + 32 * 0.0046) * 30 / 6)
    assert month.fixed == pytest.approx(1.1)
    assert month.total == pytest.approx(167.9 + 1.725 + 2.42 + 1.1)
    rested = costs.month(
        dataclasses.replace(found, values=values | {"EndpointHours": "MON-FRI 06-20"}, template=template)
    )
    assert rested.endpoint == pytest.approx(month.endpoint * 70 / 168)
    assert costs.table([month]).splitlines()[2] == "| dev | 2 × ml.m5.large | $168 | $2 | $2 | $1 | $173 |"


def test_a_changed_environment_changes_the_page(tmp_path: Path) -> None:
    for name in ("template.yaml", "docs/reference/costs.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"))
    text = (ROOT / "samconfig.toml").read_text("utf-8")
    for name, machine, wanted in (("samconfig.toml", "ml.m5.large", True), ("samconfig.toml", "ml.m5.xlarge", False)):
        (tmp_path / name).write_text(
            text.replace("EndpointInstanceType=ml.m5.large", f"EndpointInstanceType={machine}")
        )
        assert (
            costs.assemble(tmp_path)["docs/reference/costs.md"] == (ROOT / "docs/reference/costs.md").read_text("utf-8")
        ) is wanted


def test_dev_has_no_gpu() -> None:
    values = settings.read(ROOT, "dev").values
    machines = {values[name] for name in ("EndpointInstanceType", "TrainingInstanceType", "BatchInstanceType")}
    assert not [machine for machine in machines if machine.startswith(("ml.g", "ml.p"))]
    assert values["EndpointInferenceAmiVersion"] == "", "a host image for GPUs does not start on a CPU machine"


def test_the_price_of_an_idle_stack_in_the_comparisons_is_the_computed_one() -> None:
    dev = costs.month(settings.read(ROOT, "dev"))
    assert f"| ${dev.endpoint + dev.fixed:.0f}: one ml.m5.large |" in (ROOT / "README.md").read_text("utf-8")
    page = (ROOT / "docs" / "explanation" / "compared.md").read_text("utf-8")
    assert (
        f"| ${dev.endpoint + dev.fixed:.0f}: one ml.m5.large (${dev.endpoint:.0f}) and alarms (${dev.fixed:.0f})"
        in page
    )
