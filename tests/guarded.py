"""mosquitto with the files of docker/mosquitto: TLS, passwords and the shipped ACL, or that with a line less."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import SecretStr

from bridge.transport.mqtt import BrokerConfig
from tests import peers
from tests.broker import Mosquitto, Process
from tests.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Sequence

SHIPPED = Path(__file__).parent.parent / "docker" / "mosquitto"
CONFIG = "/mosquitto/config"
"""Where the shipped configuration expects its files."""
BRIDGE = "bridge-1"
USERS = (BRIDGE, "host-1", "reader", "commander")


class Right(NamedTuple):
    """A line of the shipped ACL."""

    user: str
    access: str
    topic: str

    @property
    def line(self) -> str:
        return f"topic {self.access} {self.topic}"


def shipped_acl() -> str:
    return (SHIPPED / "acl").read_text(encoding="utf-8")


def rights() -> list[Right]:
    """What the shipped ACL allows to users by name."""
    found, user = [], ""
    for line in shipped_acl().splitlines():
        word, _, rest = line.partition(" ")
        if word == "user":
            user = rest
        elif word == "topic":
            access, _, topic = rest.partition(" ")
            found.append(Right(user, access, topic))
    return found


class Guarded(Process):
    """The shipped configuration, with its paths and its port replaced; `acl` stands in for the shipped one."""

    def __init__(self, folder: Path, acl: str | None = None) -> None:
        super().__init__()
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._authority = Authority(folder)
        self._issued = self._authority.issue(self.host)
        self._acl = shipped_acl() if acl is None else acl

    def config_of(self, user: str, protocol: str = "5") -> BrokerConfig:
        """How one of USERS reaches it."""
        return BrokerConfig(
            host=self.host,
            port=self.port,
            protocol=protocol,  # type: ignore[arg-type]
            tls=True,
            ca_file=str(self._authority.file),
            username=user,
            password=SecretStr(self.password(user)),
        )

    @property
    def ca_file(self) -> Path:
        return self._authority.file

    @staticmethod
    def password(user: str) -> str:
        return f"word of {user}"

    @property
    def denied(self) -> list[str]:
        """What the broker denied, as its log says."""
        return [line for line in self.said.splitlines() if "enied" in line or "not authori" in line.lower()]

    def allow(self, acl: str) -> None:
        """Another ACL, from now on, as when a person has edited it."""
        assert self._directory is not None, "the broker does not run"
        (self._directory / "acl").write_text(acl, encoding="utf-8")
        os.kill(self.pid, signal.SIGHUP)

    def command(self, directory: Path) -> Sequence[str]:
        program, passwords = peers.program("mosquitto"), peers.program("mosquitto_passwd")
        assert program is not None, "mosquitto is not installed"
        assert passwords is not None, "mosquitto_passwd is not installed"
        files = {
            "acl": self._acl,
            "passwords": "".join(f"{user}:{self.password(user)}\n" for user in USERS),
            "ca.crt": self._authority.file.read_text(),
            "server.crt": self._issued.certificate.read_text(),
            "server.key": self._issued.key.read_text(),
        }
        for name, content in files.items():
            (directory / name).write_text(content, encoding="utf-8")
            (directory / name).chmod(0o600)
        subprocess.run([passwords, "-U", str(directory / "passwords")], check=True)
        text = (SHIPPED / "mosquitto.conf").read_text(encoding="utf-8").replace(CONFIG, str(directory))
        text = text.replace("/mosquitto/data", str(directory)).replace(
            "listener 8883", f"listener {self.port} {self.host}"
        )
        file = directory / "mosquitto.conf"
        file.write_text(f"{text}log_type all\nlog_dest stderr\nuser root\n", encoding="utf-8")
        return (program, "-c", str(file))

    async def _listening(self) -> None:
        """Its log says so: a connection that is no TLS would be one more line of complaint."""
        async with asyncio.timeout(30):
            while " running" not in self.said:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)


class Dynamic(Mosquitto):
    """mosquitto with its dynamic security plugin, which refuses SUBSCRIBE where acl_file only delivers nothing."""

    def __init__(self, folder: Path, allowed: Sequence[Right]) -> None:
        folder.mkdir(exist_ok=True)
        self._file = folder / "dynamic-security.json"
        self._file.write_text(json.dumps(_dynamic(allowed)), encoding="utf-8")
        options = f"plugin_opt_config_file {self._file}"
        super().__init__(lines=("allow_anonymous false", "log_type all", f"plugin {peers.plugin()}", options))

    def config_of(self, user: str, protocol: str) -> BrokerConfig:
        """How one of USERS reaches it."""
        told = {"protocol": protocol, "username": user, "password": SecretStr(Guarded.password(user))}
        return self.config.model_copy(update=told)

    async def _listening(self) -> None:
        async with asyncio.timeout(30):
            while " running" not in self.said:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)


def _dynamic(allowed: Sequence[Right]) -> dict[str, object]:
    """The plugin's file: https://mosquitto.org/documentation/dynamic-security/."""
    return {
        "defaultACLAccess": {
            "publishClientSend": False,
            "publishClientReceive": True,
            "subscribe": False,
            "unsubscribe": True,
        },
        "clients": [
            {"username": user, **_hashed(Guarded.password(user)), "roles": [{"rolename": user}]} for user in USERS
        ],
        "roles": [
            {
                "rolename": user,
                "acls": [
                    {"acltype": kind, "topic": right.topic, "allow": True}
                    for right in allowed
                    if right.user == user
                    for kind, access in (("publishClientSend", "write"), ("subscribePattern", "read"))
                    if right.access in (access, "readwrite")
                ],
            }
            for user in USERS
        ],
    }


def _hashed(password: str) -> dict[str, object]:
    salt = b"no salt here"
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return {"password": base64.b64encode(key).decode(), "salt": base64.b64encode(salt).decode(), "iterations": 101}
