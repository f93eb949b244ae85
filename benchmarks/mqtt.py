"""A minimal MQTT 3.1.1 client on a blocking socket, QoS 0: so light that the load side does not become the limit."""

from __future__ import annotations

import socket
from collections.abc import Iterator


def remaining_length(size: int) -> bytes:
    """MQTT 3.1.1, 2.2.3."""
    encoded = bytearray()
    while True:
        size, digit = divmod(size, 128)
        encoded.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(encoded)


def text(word: str) -> bytes:
    """A length and UTF-8 (1.5.3)."""
    raw = word.encode()
    return len(raw).to_bytes(2, "big") + raw


def packet(kind: int, body: bytes) -> bytes:
    """A control packet; `kind` is its first byte."""
    return bytes([kind]) + remaining_length(len(body)) + body


def publish(topic: str, payload: bytes) -> bytes:
    """PUBLISH with QoS 0."""
    return packet(0x30, text(topic) + payload)


class Client:
    """A session; `read` gives what has arrived since it was last called."""

    def __init__(self, port: int, client_id: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._buffer = bytearray()
        # CONNECT: MQTT 4 (3.1.1), clean session, no keep-alive.
        self.socket.sendall(packet(0x10, text("MQTT") + b"\x04\x02\x00\x00" + text(client_id)))
        answer = self._exactly(4)
        if answer[3]:
            raise ConnectionError(f"the broker refuses the connection with code {answer[3]}")

    def _exactly(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            part = self.socket.recv(size - len(got))
            if not part:
                raise ConnectionError("the broker closed the connection")
            got += part
        return got

    def subscribe(self, topic_filter: str) -> None:
        """Ask for messages with QoS 0; the answer is passed over by `read`."""
        self.socket.sendall(packet(0x82, b"\x00\x01" + text(topic_filter) + b"\x00"))

    def send(self, packets: bytes) -> None:
        """Send ready packets."""
        self.socket.sendall(packets)

    def read(self) -> Iterator[tuple[bytes, bytes]]:
        """Topic and payload of what is there after one read of the socket."""
        chunk = self.socket.recv(1 << 18)
        if not chunk:
            raise ConnectionError("the broker closed the connection")
        buffer = self._buffer
        buffer += chunk
        at, end = 0, len(buffer)
        while at + 2 <= end:
            size, shift, head = 0, 0, at + 1
            while head < end:
                digit = buffer[head]
                size |= (digit & 0x7F) << shift
                shift += 7
                head += 1
                if digit < 0x80:
                    break
            else:
                break
            if head + size > end:
                break
            if buffer[at] >> 4 == 3:
                names = head + 2 + int.from_bytes(buffer[head : head + 2], "big")
                yield bytes(buffer[head + 2 : names]), bytes(buffer[names : head + size])
            at = head + size
        del buffer[:at]
