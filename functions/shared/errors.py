"""Why a function stops. The class name is what Step Functions sees as the error, so the state machines branch on
these names.

Three causes; every other name is one of them, made specific where the state machine or the ledger has to tell it
apart.
"""

from __future__ import annotations


class FunctionError(Exception):
    """Base of every error that this application raises on purpose. Raised itself: never."""

    @property
    def name(self) -> str:
        """The name under which Step Functions and the ledger know this error."""
        return type(self).__name__


class InvalidInput(FunctionError):
    """What was sent cannot be used; the sender must act. Raised for an event, a manifest or a parameter of the wrong
    shape.
    """


class MissingResource(FunctionError):
    """Something that should exist does not, or may not be used; the operator must act. Raised on 'not found' and
    'access denied'.
    """


class DependencyFailed(FunctionError):
    """A service did not answer as it should; trying again can help. Raised on throttling, timeouts and 5xx answers."""


class CapacityUnavailable(DependencyFailed):
    """A quota or a pool of instances is exhausted. Raised when a job cannot be created for lack of it; waits long
    between tries.
    """


class DeploymentInProgress(DependencyFailed):
    """Another deployment holds the lock or the endpoint is changing. Raised by `deploy`; waits long between tries."""


class AlarmNotQuiet(DependencyFailed):
    """An alarm that is to watch the deployment rings before it begins. Raised by `deploy`; waits long between tries."""


class StaleVersion(FunctionError):
    """Newer data serves already. Raised by `deploy` and `verify`; ends the run as rejected, without a fault."""


class UntrustworthyReport(FunctionError):
    """The evaluation report cannot be believed. Raised by `evaluate` for figures that are not finite rates, for a
    report of another run, or for too few test users. A fault, never a rejection: nothing is known about the model.
    """


class NotComparable(FunctionError):
    """The candidate was not measured against the model that serves. Raised by `evaluate`; a new run will be."""


class ArtefactMissing(MissingResource):
    """A finished job left no artefact, or an empty one. Raised by `evaluate` and `register`."""


class ArtefactChanged(InvalidInput):
    """The model in the bucket is not the one that was registered. Raised by `deploy`, which then touches nothing."""


class ModelNotApproved(InvalidInput):
    """The model package is not approved (any more). Raised by `deploy` before any traffic moves, and by `verify`."""


class EndpointFailed(FunctionError):
    """The endpoint could not be created or updated. Raised, and sent through the task token, when its state says so."""


class EndpointRolledBack(FunctionError):
    """SageMaker put the earlier configuration back by itself. Sent when an endpoint is InService on another
    configuration.
    """


class EndpointUnusable(MissingResource):
    """The endpoint is in a state that only a person can mend. Raised by `deploy`, which then touches nothing."""


class DeploymentLost(FunctionError):
    """Another execution has taken the deployment lock since. Raised by `verify`; what serves is left to that one."""


class GoldenRequestMismatch(FunctionError):
    """The endpoint does not answer as the bundle says. Raised by `verify`; the state machine then rolls back."""
