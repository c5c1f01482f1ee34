"""AWS clients with timeouts, and the translation of their errors into the three causes of `shared.errors`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import DependencyFailed, FunctionError, cause_of

_CONFIG = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=3, read_timeout=20)


def client(service: str, config: Config | None = None) -> Any:
    """A client of `service` that waits at most 3 s for a connection and 20 s for an answer, and retries 3 times with
    jitter.
    """
    return boto3.client(service, config=_CONFIG.merge(config) if config else _CONFIG)


def code_of(error: ClientError) -> str:
    """Return the AWS error code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def message_of(error: ClientError) -> str:
    """Return the AWS error message."""
    return str(error.response.get("Error", {}).get("Message", ""))


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Translate botocore errors of the call named `what` into InvalidInput, MissingResource, CapacityUnavailable or
    DependencyFailed. The message keeps the AWS error code.

    Catch errors that you expect inside the block.
    """
    try:
        yield
    except FunctionError:
        raise
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise cause_of(code_of(error), status)(f"{what}: {code_of(error)}: {message_of(error)}") from error
    except BotoCoreError as error:
        raise DependencyFailed(f"{what}: {error}") from error


def not_found(error: ClientError) -> bool:
    """True if AWS says that the resource does not exist; SageMaker says so in the message of a ValidationException."""
    if code_of(error) in {"ResourceNotFound", "ResourceNotFoundException", "NoSuchKey", "404"}:
        return True
    return code_of(error) == "ValidationException" and any(
        phrase in message_of(error).lower() for phrase in ("not found", "could not find", "does not exist")
    )


def already_exists(error: ClientError) -> bool:
    """True if AWS says that the name is taken: ResourceInUse for training jobs, ValidationException for models and
    endpoints.
    """
    if code_of(error) in {"ResourceInUse", "ConflictException"}:
        return True
    return code_of(error) == "ValidationException" and "already exist" in message_of(error).lower()


def in_progress(error: ClientError) -> bool:
    """True if SageMaker refuses a call because the endpoint is changing."""
    return code_of(error) == "ValidationException" and "in-progress" in message_of(error).lower().replace(
        "in progress", "in-progress"
    )
