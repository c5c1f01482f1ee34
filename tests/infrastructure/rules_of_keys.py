"""Rules for the customer's key, KmsKeyArn: it encrypts what is kept, and roles use it narrowly. As in `rules.py`."""

from __future__ import annotations

import json
from typing import Any

from tests.infrastructure.templates import as_list, of_type, roles, statements, text

Template = dict[str, Any]

# Where each kind of resource has the customer's key; a dot leads into a property.
KEYS = {
    "AWS::S3::Bucket": "BucketEncryption.ServerSideEncryptionConfiguration",
    "AWS::DynamoDB::Table": "SSESpecification",
    "AWS::KinesisFirehose::DeliveryStream": "DeliveryStreamEncryptionConfigurationInput",
    "AWS::SNS::Topic": "KmsMasterKeyId",
    "AWS::SQS::Queue": "KmsMasterKeyId",
    "AWS::Logs::LogGroup": "KmsKeyId",
}
_KEY = {"Ref": "KmsKeyArn"}
# Services through which a role reads and writes what that key encrypts.
KEEPERS = ("s3", "dynamodb", "sns", "sqs")


def the_customers_key_is_everywhere(template: Template) -> list[str]:
    """With KmsKeyArn, whatever keeps data is encrypted with that key."""
    faults = []
    for kind, path in KEYS.items():
        for name, properties in of_type(template, kind).items():
            value: Any = properties
            for part in path.split("."):
                value = value.get(part, {})
            chosen = as_list(value)[0] if value else {}
            condition, with_key, _ = chosen.get("Fn::If", ["", {}, {}])
            if condition != "HasKmsKey" or json.dumps(_KEY) not in json.dumps(with_key):
                faults.append(f"{name} is not encrypted with KmsKeyArn")
    return faults


def the_customers_key_is_used_narrowly(template: Template) -> list[str]:
    """Each role may use that key only through the services that it calls, or for volumes, and only if there is one."""
    faults = []
    for name, role in roles(template):
        written = [one for policy in role.get("Policies", []) for one in policy["PolicyDocument"]["Statement"]]
        through = {
            action.partition(":")[0] for statement in statements(role) for action in as_list(statement["Action"])
        }
        wanted = {f"{service}.${{AWS::Region}}.${{AWS::URLSuffix}}" for service in KEEPERS if service in through}
        found: set[str] = set()
        for statement in written:
            condition, inner = statement["Fn::If"][:2] if "Fn::If" in statement else ("", statement)
            actions = as_list(inner["Action"])
            if not any(action.startswith("kms:") for action in actions):
                continue
            where, limits = f"{name}/{inner['Sid']}", inner.get("Condition", {})
            if inner["Resource"] == {"Fn::GetAtt": ["NotificationsKey", "Arn"]} and condition == "HasNoKmsKey":
                continue
            if inner["Resource"] != _KEY or condition != "HasKmsKey":
                faults.append(f"{where} is not about KmsKeyArn, or not only if there is one")
            if actions == ["kms:CreateGrant"]:
                if limits != {"Bool": {"kms:GrantIsForAWSResource": "true"}}:
                    faults.append(f"{where} grants the key to others than AWS")
                continue
            if set(actions) != {"kms:Decrypt", "kms:GenerateDataKey"}:
                faults.append(f"{where} allows {', '.join(actions)}")
            found |= {text(one) for one in as_list(limits.get("StringEquals", {}).get("kms:ViaService", []))}
        if found != wanted:
            faults.append(f"{name} uses the key through {sorted(found)}, not {sorted(wanted)}")
    return faults
