"""What can go wrong in a yard, and the one catalogue that maps it to gRPC statuses.

Domain code raises these; `modelyard.grpc_interceptor` turns them into a status, `modelyard.client` back into the same
class. The message is a sentence for the person who has to act on it, so it never holds a stack or another's secret.
"""

import grpc


class YardError(Exception):
    """Base of all errors whose message may be shown to a caller."""

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__


class InvalidArgumentError(YardError):
    """The request can never succeed as it is."""


class NotFoundError(YardError):
    """What was named is not there."""


class AlreadyExistsError(YardError):
    """What was to be made is there already."""


class FailedPreconditionError(YardError):
    """The yard is in a state in which this cannot be done; something else has to be done first."""


class AbortedError(YardError):
    """Somebody else changed the same thing in between; reading again and trying again is right."""


class ResourceExhaustedError(YardError):
    """A limit was reached: size, concurrency, disk."""


class UnavailableError(YardError):
    """Not now; trying again later may succeed."""


class DeadlineExceededError(YardError):
    """Not in the time the caller gave."""


class DataLossError(YardError):
    """Bytes are not what they were recorded to be."""


class UnimplementedError(YardError):
    """Not offered here."""


class InternalError(YardError):
    """A defect of the yard; the details are in its log, never in the message."""


STATUS_BY_ERROR: dict[type[YardError], grpc.StatusCode] = {
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    AbortedError: grpc.StatusCode.ABORTED,
    ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    DataLossError: grpc.StatusCode.DATA_LOSS,
    UnimplementedError: grpc.StatusCode.UNIMPLEMENTED,
    InternalError: grpc.StatusCode.INTERNAL,
}

ERROR_BY_STATUS: dict[grpc.StatusCode, type[YardError]] = {status: error for error, status in STATUS_BY_ERROR.items()}


def status_of(error: YardError) -> grpc.StatusCode:
    """That of its class, or of the nearest one above it."""
    return next(STATUS_BY_ERROR[kind] for kind in (*type(error).__mro__, InternalError) if kind in STATUS_BY_ERROR)


def from_status(code: grpc.StatusCode, details: str) -> YardError:
    """The error that a server meant by a gRPC status; InternalError for a status that no yard sends."""
    return ERROR_BY_STATUS.get(code, InternalError)(details)
