"""AWS clients with bounded waits, and the translation of their errors into the three causes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import CapacityUnavailable, DependencyFailed, FunctionError, InvalidInput, MissingResource

_CONFIG = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=3, read_timeout=20)

_CAPACITY = {"ResourceLimitExceeded", "ServiceQuotaExceededException", "LimitExceededException"}
_MISSING = {
    "404",
    "403",
    "NoSuchKey",
    "NoSuchBucket",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "StateMachineDoesNotExist",
}
_RETRYABLE = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "RequestThrottled",
    "RequestThrottledException",
    "EC2ThrottledException",
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
    # Of a long-lived environment; the next call has new credentials.
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "ProvisionedThroughputExceededException",
    "TransactionConflictException",
    "ConflictException",
    "ConcurrentUpdateException",
    "RequestTimeout",
    "SlowDown",
    "ModelNotReadyException",
    "InternalFailure",
    "InternalServerError",
    "ServiceUnavailable",
}


def client(service: str, config: Config | None = None) -> Any:
    """A client of `service` that waits at most 3 s for a connection and 20 s for an answer, and retries 3 times with
    jitter.
    """
    return boto3.client(service, config=_CONFIG.merge(config) if config else _CONFIG)


def code_of(error: ClientError) -> str:
    """AWS's own code of a client error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def message_of(error: ClientError) -> str:
    """AWS's own message of a client error."""
    return str(error.response.get("Error", {}).get("Message", ""))


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Turn botocore's errors from the call named `what` into InvalidInput, MissingResource, CapacityUnavailable or
    DependencyFailed.

    Errors that the caller can name are to be caught inside; whatever reaches this border keeps its AWS code in the
    message.
    """
    try:
        yield
    except FunctionError:
        raise
    except ClientError as error:
        raise _cause(error)(f"{what}: {code_of(error)}: {message_of(error)}") from error
    except BotoCoreError as error:
        raise DependencyFailed(f"{what}: {error}") from error


def _cause(error: ClientError) -> type[FunctionError]:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _CAPACITY:
        return CapacityUnavailable
    if code in _RETRYABLE or status >= 500 or status == 429:
        return DependencyFailed
    if code in _MISSING:
        return MissingResource
    return InvalidInput


def not_found(error: ClientError) -> bool:
    """Whether AWS says that the thing described is not there; SageMaker says so in a ValidationException's message."""
    if code_of(error) in {"ResourceNotFound", "ResourceNotFoundException", "NoSuchKey", "404"}:
        return True
    return code_of(error) == "ValidationException" and any(
        phrase in message_of(error).lower() for phrase in ("not found", "could not find", "does not exist")
    )


def already_exists(error: ClientError) -> bool:
    """Whether AWS says that the name is taken; training jobs say ResourceInUse, models and endpoints a
    ValidationException.
    """
    if code_of(error) in {"ResourceInUse", "ConflictException"}:
        return True
    return code_of(error) == "ValidationException" and "already exist" in message_of(error).lower()


def in_progress(error: ClientError) -> bool:
    """Whether SageMaker refuses because the endpoint is changing at this moment."""
    return code_of(error) == "ValidationException" and "in-progress" in message_of(error).lower().replace(
        "in progress", "in-progress"
    )
