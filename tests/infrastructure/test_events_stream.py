"""The stream of events writes what the functions and the preparation read."""

from __future__ import annotations

import re
from typing import Any

from contracts import sources
from contracts.names import LIVE_FOLDER, MARKER_KEY
from contracts.sources import Part
from tests.infrastructure.templates import as_list, statements, text

STREAM, ROLE = "EventsStream", "EventsStreamRole"


def test_its_files_are_interactions_in_the_folder_of_a_day(cloudformation: dict[str, Any]) -> None:
    target = cloudformation["Resources"][STREAM]["Properties"]["ExtendedS3DestinationConfiguration"]
    folder = target["Prefix"].replace("!{timestamp:yyyy-MM-dd}", "2026-11-29")
    assert folder == "raw/live-2026-11-29/" and LIVE_FOLDER.fullmatch(folder.split("/")[1])
    assert MARKER_KEY.fullmatch(f"{folder}_SUCCESS")
    name = f"ncf-events-1-2026-11-29-10-45-28-dbbd79bf-2780-43a1-8628-54a2327a547c{target['FileExtension']}"
    assert sources.parts([name]) == {name: Part.INTERACTIONS}
    assert sources.compression_of(name) == target["CompressionFormat"].lower()
    # Firehose refuses a prefix with an expression without this one in the other.
    assert "!{firehose:error-output-type}" in target["ErrorOutputPrefix"]


def test_its_role_may_write_where_it_writes_and_nowhere_else(cloudformation: dict[str, Any]) -> None:
    resources = cloudformation["Resources"]
    target = resources[STREAM]["Properties"]["ExtendedS3DestinationConfiguration"]
    granted = [
        text(resource)
        for statement in statements(resources[ROLE]["Properties"])
        if "s3:PutObject" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    ]
    patterns = [re.escape(one).replace(r"\*", ".*") for one in granted]
    for prefix in (target["Prefix"], target["ErrorOutputPrefix"]):
        assert [one for one in patterns if re.fullmatch(one, f"${{DataBucket.Arn}}/{prefix}x")]
    for other in ("raw/2026-11-29/a.csv", "datasets/v1/manifest.json", "errors/a"):
        assert not [one for one in patterns if re.fullmatch(one, f"${{DataBucket.Arn}}/{other}")]
    assert target["RoleARN"] == {"Fn::GetAtt": [ROLE, "Arn"]}
