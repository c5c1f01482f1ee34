"""The stack of `template.yaml` in an account: its outputs, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import ClientError

STACK = "ncf-chain"
MAKE = (
    "aws cloudformation deploy --stack-name {stack} --template-file delivery/chain/template.yaml "
    "--capabilities CAPABILITY_IAM"
)


class Clients(Protocol):
    """Makes boto3 clients, as `boto3.Session.client`."""

    def __call__(self, service: str, **settings: Any) -> Any: ...


class ChainError(Exception):
    """A step of the delivery cannot be done; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Chain:
    """Outputs of the stack."""

    bucket: str
    repository_uri: str
    build: str
    parameter: str
    execution_role: str

    @classmethod
    def of(cls, clients: Clients, stack: str) -> Chain:
        """Raises ChainError if there is no such stack."""
        found = cls.find(clients, stack)
        if found is None:
            raise ChainError(f"there is no stack {stack}: make it by\n  {MAKE.format(stack=stack)}")
        return found

    @classmethod
    def find(cls, clients: Clients, stack: str) -> Chain | None:
        """None if there is no such stack: a person may deploy without one."""
        try:
            described = clients("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        outputs = {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])}
        return cls(
            bucket=outputs["BucketName"],
            repository_uri=outputs["RepositoryUri"],
            build=outputs["ImageBuildName"],
            parameter=outputs["ImageParameterName"],
            execution_role=outputs["ExecutionRoleArn"],
        )

    @property
    def repository(self) -> str:
        """The repository's name, which may have slashes."""
        return self.repository_uri.partition("/")[2]
