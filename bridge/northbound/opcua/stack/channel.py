"""A secure channel whose tokens end, and whose peer gives keys of full length.

asyncua revises no lifetime, never looks at the age of the current token, and takes any nonce for the keys.
Source: OPC UA Part 4, 5.5.2 (OpenSecureChannel); Part 6, 6.7.4 and 7.1.2.3 (Hello).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.common.connection import SecureConnection, TransportLimits

MIN_LIFETIME_MS, MAX_LIFETIME_MS = 10_000, 3_600_000
GRACE = 1.25
"""Part 4, 5.5.2.1: a channel exists until its last token has expired and the overlap of 25 % is over."""


@dataclass
class ServerLimits(TransportLimits):
    """asyncua's, with what the client takes kept apart from what the server takes.

    asyncua bounds the requests by what the client says of responses, and the responses by nothing.
    """

    max_recv_buffer: int = 65_535
    max_send_buffer: int = 65_535
    max_response_size: int = 0
    """Bytes of a response's body; 0 is no bound."""
    max_response_chunks: int = 0
    endpoint_url: str = ""
    """By which the client came."""

    def create_acknowledge_and_set_limits(self, msg: ua.Hello) -> ua.Acknowledge:
        """Take the client's Hello, and answer it: each side's buffers are no larger than the other's (7.1.2.4)."""
        self.max_response_size, self.max_response_chunks = msg.MaxMessageSize, msg.MaxChunkCount
        self.endpoint_url = msg.EndpointUrl or ""
        self.max_recv_buffer = min(msg.SendBufferSize, self.max_recv_buffer)
        self.max_send_buffer = min(msg.ReceiveBufferSize, self.max_send_buffer)
        return ua.Acknowledge(
            ReceiveBufferSize=self.max_recv_buffer,
            SendBufferSize=self.max_send_buffer,
            MaxMessageSize=self.max_message_size,
            MaxChunkCount=self.max_chunk_count,
        )


class ChannelFault(Exception):
    """The channel must end; `status` is the OPC UA status code that says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class GuardedConnection(SecureConnection):
    """The server's side of a secure channel."""

    def __init__(self, security_policy: Any, limits: TransportLimits) -> None:
        super().__init__(security_policy, limits)
        self.ends = self.next_ends = 0.0
        """Monotonic seconds at which the token in use, and the one that was issued last, are of no use any more."""

    @property
    def has_expired(self) -> bool:
        """The token in use is too old."""
        return time.monotonic() > self.ends

    @property
    def is_over(self) -> bool:
        """Every token is too old: nothing the peer may send could be taken."""
        return self.is_open() and time.monotonic() > max(self.ends, self.next_ends)

    def open(self, params: Any, server: Any) -> ua.OpenSecureChannelResult:
        """A token. Raises ChannelFault BadNonceInvalid."""
        needed = self.security_policy.secure_channel_nonce_length
        if len(params.ClientNonce or b"") < needed:
            raise ChannelFault(ua.StatusCodes.BadNonceInvalid, f"The nonce must have {needed} bytes")
        params.RequestedLifetime = min(max(params.RequestedLifetime, MIN_LIFETIME_MS), MAX_LIFETIME_MS)
        is_first = not self.is_open() or params.RequestType == ua.SecurityTokenRequestType.Issue
        result: ua.OpenSecureChannelResult = super().open(params, server)
        self.next_ends = time.monotonic() + params.RequestedLifetime / 1000 * GRACE
        if is_first:
            self.ends = self.next_ends
        return result

    def revolve_tokens(self) -> None:
        """The peer uses the new token."""
        super().revolve_tokens()
        self.ends = self.next_ends

    def _check_sym_header(self, security_hdr: ua.SymmetricAlgorithmHeader) -> None:
        super()._check_sym_header(security_hdr)
        if self.has_expired:
            raise ChannelFault(ua.StatusCodes.BadSecureChannelTokenUnknown, "The security token has expired")
