"""Messages of an open secure channel, to and from bytes, without an object per header.

asyncua makes nine objects a message, and a publish is two messages. Here: only what is everyday, a request of one chunk
with the current keys; what is not is left to asyncua, untouched. Signing and encrypting are asyncua's in either case.
Source: OPC UA Part 6, 6.7.2.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from asyncua.common.connection import MessageChunk
from asyncua.crypto.uacrypto import InvalidSignature

if TYPE_CHECKING:
    from asyncua.common.connection import SecureConnection

_HEADERS = struct.Struct("<4sIII")
"""Message type with chunk type, size, channel, token."""
_NUMBERS = struct.Struct("<II")
"""Sequence number, request id."""
_CHANNEL = struct.Struct("<II")
HEADER = _HEADERS.size
WRAP = 1 << 32


def unwrapped(connection: SecureConnection, message: bytes) -> tuple[int, bytes] | None:
    """Request id and body of a MSG; None, with nothing changed, where asyncua must look at it."""
    if message[3:4] != b"F" or connection._incoming_parts or len(message) > connection._limits.max_recv_buffer:
        return None
    token = connection.security_token
    if _CHANNEL.unpack_from(message, 8) != (token.ChannelId, token.TokenId):
        return None
    plain = _decrypted(connection, message)
    if plain is None or len(plain) < _NUMBERS.size:
        return None
    sequence, request_id = _NUMBERS.unpack_from(plain)
    if connection._peer_sequence_number is None or sequence != connection._peer_sequence_number + 1:
        return None
    connection._peer_sequence_number = sequence
    return request_id, plain[_NUMBERS.size :]


def _decrypted(connection: SecureConnection, message: bytes) -> bytes | None:
    crypto = connection.security_policy.symmetric_cryptography
    crypto.use_prev_key = False
    plain: bytes = crypto.decrypt(message[HEADER:])
    size = crypto.vsignature_size()
    if not size:
        return plain
    try:
        crypto.verify(message[:HEADER] + plain[:-size], plain[-size:])
    except InvalidSignature:
        return None
    unpadded: bytes = crypto.remove_padding(plain[:-size])
    return unpadded


def room(connection: SecureConnection) -> int:
    """Bytes of a message's body that one chunk takes."""
    crypto = connection.security_policy.symmetric_cryptography
    return int(MessageChunk.max_body_size(crypto, connection._limits.max_send_buffer))


def wrapped(connection: SecureConnection, body: bytes, request_id: int) -> bytes:
    """A response as one MSG chunk or several."""
    crypto, token = connection.security_policy.symmetric_cryptography, connection.security_token
    most = room(connection)
    plain_block, block = crypto.plain_block_size(), crypto.encrypted_block_size()
    parts: list[bytes] = []
    for start in range(0, len(body), most):
        number = connection._sequence_number = connection._sequence_number % (WRAP - 1) + 1
        piece = body if len(body) <= most else body[start : start + most]
        plain = _NUMBERS.pack(number, request_id) + piece
        plain += crypto.padding(len(plain))
        size = HEADER + (len(plain) + crypto.signature_size()) // plain_block * block
        kind = b"MSGF" if start + most >= len(body) else b"MSGC"
        headers = _HEADERS.pack(kind, size, token.ChannelId, token.TokenId)
        parts += (headers, crypto.encrypt(plain + crypto.signature(headers + plain)))
    return b"".join(parts)
