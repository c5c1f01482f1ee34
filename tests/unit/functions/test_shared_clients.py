"""AWS's errors become one of the three causes."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from shared.clients import already_exists, calling, in_progress, not_found
from shared.errors import (
    CapacityUnavailable,
    DependencyFailed,
    FunctionError,
    InvalidInput,
    MissingResource,
    StaleVersion,
)


def client_error(code: str, message: str = "", status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Operation")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (client_error("ThrottlingException"), DependencyFailed),
        (client_error("SlowDown", status=503), DependencyFailed),
        (client_error("Whatever", status=500), DependencyFailed),
        (client_error("ModelNotReadyException", status=429), DependencyFailed),
        (client_error("ProvisionedThroughputExceededException"), DependencyFailed),
        (client_error("TransactionConflictException"), DependencyFailed),
        (client_error("ResourceLimitExceeded", "The account-level service limit is 0"), CapacityUnavailable),
        (client_error("AccessDeniedException"), MissingResource),
        (client_error("NoSuchKey"), MissingResource),
        (client_error("ValidationException", "1 validation error detected"), InvalidInput),
        (EndpointConnectionError(endpoint_url="https://example"), DependencyFailed),
        (ReadTimeoutError(endpoint_url="https://example"), DependencyFailed),
    ],
)
def test_every_error_has_its_cause(error: Exception, cause: type[FunctionError]) -> None:
    with pytest.raises(FunctionError) as caught, calling("service Operation"):
        raise error
    assert type(caught.value) is cause
    assert str(caught.value).startswith("service Operation: ")


def test_keeps_an_error_that_has_a_name_already() -> None:
    with pytest.raises(StaleVersion, match="older"), calling("service Operation"):
        raise StaleVersion("older")


def test_keeps_our_own_bugs_as_they_are() -> None:
    with pytest.raises(KeyError), calling("service Operation"):
        raise KeyError("a bug")


def test_knows_sagemakers_ways_of_saying_that_something_is_not_there() -> None:
    assert not_found(client_error("ValidationException", 'Could not find endpoint "arn:aws:sagemaker:…"'))
    assert not_found(client_error("ValidationException", "Requested resource not found."))
    assert not_found(client_error("ResourceNotFound"))
    assert not not_found(client_error("ValidationException", "1 validation error detected"))


def test_knows_sagemakers_ways_of_saying_that_a_name_is_taken() -> None:
    assert already_exists(client_error("ResourceInUse", "Training job names must be unique"))
    assert already_exists(client_error("ValidationException", 'Cannot create already existing model "arn:…"'))
    assert not already_exists(client_error("ValidationException", "Could not find model"))


def test_knows_that_the_endpoint_is_changing() -> None:
    assert in_progress(client_error("ValidationException", "Cannot update in-progress endpoint"))
    assert not in_progress(client_error("ValidationException", "Could not find endpoint"))
