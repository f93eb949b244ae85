"""What paho wraps its socket in: a Wire, and TLS below it where it is wanted."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from bridge.transport.mqtt_wire import Wire

if TYPE_CHECKING:
    import socket

    from bridge.transport.mqtt_config import BrokerConfig


class Wrapping(ssl.SSLContext):
    """For paho a TLS context, which is how it lets its socket be replaced; without TLS only the wire is put around.

    Certificate and host name are verified. The socket of a handshake that failed is closed, which paho 2.2 leaves open.
    """

    _is_tls = False
    _timeout_s = 0.0

    @classmethod
    def of(cls, broker: BrokerConfig, timeout_s: float) -> Wrapping:
        """As the broker is to be reached. Reads files: not for the event loop. Raises OSError."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._is_tls = broker.tls
        context._timeout_s = timeout_s
        if broker.tls and broker.ca_file is None:
            context.load_default_certs()
        elif broker.tls:
            context.load_verify_locations(broker.ca_file)
        return context

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> Wire:  # type: ignore[override]
        """The wire over this socket, after its handshake. Raises OSError with the socket closed."""
        if not self._is_tls:
            return Wire(sock)
        wrapped = super().wrap_socket(sock, *args, **options)
        try:
            wrapped.settimeout(self._timeout_s)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return Wire(wrapped)
