"""The errors that functions raise. Step Functions sees the class name as the error, and the state machines branch on
these names.

There are three causes: InvalidInput, MissingResource and DependencyFailed. The other classes exist where a state
machine or the ledger must distinguish them.
"""

from __future__ import annotations


class FunctionError(Exception):
    """Base of every error that this application raises on purpose. Never raised itself."""

    @property
    def name(self) -> str:
        """The name under which Step Functions and the ledger know this error."""
        return type(self).__name__


class InvalidInput(FunctionError):
    """The input cannot be used; the sender must fix it. Raised for an invalid event, manifest or parameter."""


class MissingResource(FunctionError):
    """A resource does not exist, or access to it is denied; the operator must fix it. Raised on 'not found' and
    'access denied'.
    """


class DependencyFailed(FunctionError):
    """A service failed; a retry can help. Raised on throttling, timeouts and 5xx answers."""


class CapacityUnavailable(DependencyFailed):
    """A quota or a pool of instances is exhausted. Raised when a job cannot be created because of it; retried at long
    intervals.
    """


class DeploymentInProgress(DependencyFailed):
    """Another deployment holds the lock, or the endpoint is changing. Raised by `deploy`; retried at long intervals."""


class AlarmNotQuiet(DependencyFailed):
    """An alarm of the deployment is in state ALARM before it begins. Raised by `deploy`; retried at long intervals."""


class StaleVersion(FunctionError):
    """A model trained on newer data serves. Raised by `deploy` and `verify`; ends the run as rejected, not failed."""


class UntrustworthyReport(FunctionError):
    """The evaluation report is invalid. Raised by `evaluate` for figures that are not finite rates, for a report of
    another run, or for too few test users. The run fails; the model is not rejected, because it was not judged.
    """


class NotComparable(FunctionError):
    """The candidate was not compared with the serving model. Raised by `evaluate` and `deploy`; a new run
    compares them.
    """


class ArtefactMissing(MissingResource):
    """A finished job left no artefact, or an empty one. Raised by `evaluate` and `register`."""


class ArtefactChanged(InvalidInput):
    """An object that a training left, or a registration, was changed afterwards. Raised by `evaluate`, `register`,
    `deploy` and `verify`, so that nothing serves that nobody judged.
    """


class ModelNotApproved(InvalidInput):
    """The model package is not approved, or no longer. Raised by `deploy` before any traffic moves, and by `verify`."""


class EndpointFailed(FunctionError):
    """The endpoint could not be created or updated. Raised, or sent with the task token, when its status is Failed."""


class EndpointRolledBack(FunctionError):
    """SageMaker restored the earlier configuration. Sent when the endpoint is InService on another configuration."""


class EndpointUnusable(MissingResource):
    """The endpoint is in a state that only a person can fix. Raised by `deploy` before it changes anything."""


class DeploymentLost(FunctionError):
    """Another execution took the deployment lock. Raised by `verify`; that execution decides which model serves."""


class GoldenRequestMismatch(FunctionError):
    """An answer of the endpoint differs from the bundle's. Raised by `verify`; the state machine then rolls back."""


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
    # In a long-lived environment; the next call has new credentials.
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


def cause_of(code: str, status: int) -> type[FunctionError]:
    """Return the cause of an error answer of AWS: InvalidInput, MissingResource, CapacityUnavailable or
    DependencyFailed.
    """
    if code in _CAPACITY:
        return CapacityUnavailable
    if code in _RETRYABLE or status >= 500 or status == 429:
        return DependencyFailed
    if code in _MISSING:
        return MissingResource
    return InvalidInput
