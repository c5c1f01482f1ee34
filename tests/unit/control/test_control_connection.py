"""Errors of AWS are told in words with what to do."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from control.connection import NotReady, in_words


def denied(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetItem")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotReady("There is no stack shop here."), "There is no stack shop here."),
        (denied("AccessDeniedException", "no dynamodb:Query."), "Not allowed: no dynamodb:Query. Ask for"),
        (denied("ExpiredTokenException", "expired"), "sign in again"),
        (denied("ThrottlingException", "Rate exceeded"), "tries again by itself"),
        (denied("ValidationException", "bad key"), "AWS answered ValidationException: bad key"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:4566"), "`make up` starts the embedded AWS"),
        (NoCredentialsError(), "Give --profile"),
        (KeyError("x"), "could not be read (KeyError)"),
    ],
)
def test_an_error_says_what_to_do(error: Exception, words: str) -> None:
    assert words in in_words(error)
    assert "Traceback" not in in_words(error)
