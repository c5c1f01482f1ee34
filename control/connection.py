"""The connection to one deployed stack: clients of its account, and the outputs of its template."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

READY = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")


class Clients(Protocol):
    """Gives boto3 clients of one account and region."""

    def client(self, service: str) -> Any:
        """The client of `service`, as `boto3.client` names it."""


class NotReady(Exception):
    """The stack cannot be used now; the message says why and what to do."""


@dataclass(frozen=True)
class Connection:
    """One stack in one account and region.

    `endpoint_url` is the embedded AWS on this machine, or None for AWS itself. On the embedded AWS no profile and no
    key of a real account is used.
    """

    stack: str
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    _clients: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    _making: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    @property
    def is_embedded(self) -> bool:
        return self.endpoint_url is not None

    @cached_property
    def session(self) -> boto3.Session:
        if self.is_embedded:
            return boto3.Session(
                aws_access_key_id="000000000000", aws_secret_access_key="local", region_name=self.region or "us-east-1"
            )
        return boto3.Session(profile_name=self.profile, region_name=self.region)

    def client(self, service: str) -> Any:
        """A boto3 client, made once for each service (`Any`: boto3 makes its clients at run time). A client can be used
        by several threads; a session makes one at a time.
        """
        with self._making:
            if service in self._clients:
                return self._clients[service]
            config = Config(
                retries={"mode": "standard", "max_attempts": 2},
                connect_timeout=3,
                read_timeout=30,
                s3={"addressing_style": "path"} if self.is_embedded else {},
                proxies={} if self.is_embedded else None,
            )
            self._clients[service] = self.session.client(service, endpoint_url=self.endpoint_url, config=config)
            return self._clients[service]

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs by name. Raises NotReady if it is not deployed."""
        try:
            stack = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                raise NotReady(f"There is no stack {self.stack} here: `sam deploy` or `make up` makes it.") from error
            raise
        if stack["StackStatus"] not in READY:
            raise NotReady(f"The stack {self.stack} is {stack['StackStatus']}: wait until its deployment is over.")
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    @property
    def name_prefix(self) -> str:
        """The template's parameter NamePrefix, which begins the names of functions, jobs and machines."""
        return self.outputs["EndpointName"].removesuffix("-recommender")

    def api_url(self) -> str:
        """The base URL of the HTTP API, without a slash at its end."""
        if self.is_embedded:
            return f"{self.endpoint_url}/_aws/execute-api/{self.outputs['ApiId']}/$default"
        return self.outputs["ApiUrl"]


def in_words(error: Exception) -> str:
    """Return the meaning of an error of AWS for the reader, and what to do; never a stack trace."""
    if isinstance(error, NotReady):
        return str(error)
    if isinstance(error, ClientError):
        code = str(error.response["Error"].get("Code", ""))
        message = str(error.response["Error"].get("Message", ""))
        if "Denied" in code or code in ("UnauthorizedOperation", "403"):
            return f"Not allowed: {message} Ask for this permission, or use another profile."
        if code in ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"):
            return f"The credentials are not valid any more ({code}): sign in again, then reload this page."
        if "Throttl" in code or code == "TooManyRequestsException":
            return "AWS asks for fewer requests at the moment. The page tries again by itself."
        return f"AWS answered {code}: {message}"
    if isinstance(error, BotoCoreError):
        name = type(error).__name__
        if name in ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"):
            return "AWS does not answer. On this machine, `make up` starts the embedded AWS. The page tries again."
        if name in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoRegionError"):
            return f"{error} Give --profile and --region, or sign in with the AWS CLI."
        return f"AWS cannot be asked: {error}"
    return f"This could not be read ({type(error).__name__}): {error}"
