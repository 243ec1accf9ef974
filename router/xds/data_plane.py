"""What the resources depend on besides the route table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataPlane:
    """`listen_host` is an IP address, `local_socket` the path of the unix socket of the router's own answers.

    `max_message_bytes`: the largest message that is read to find the model's name in it.
    `retry_buffer_bytes`: larger requests are not kept for another try.
    `request_timeout_s`: for a unary request without a deadline of its own.
    """

    listen_host: str
    listen_port: int
    local_socket: str
    max_message_bytes: int
    request_timeout_s: float
    retry_buffer_bytes: int
