"""Where a model is: its address, checked before anything is sent there."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from whyrank.errors import InputError, RemoteRefused

__all__ = ["Endpoint", "check_address", "key_from_environment"]


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server that may be spoken to.

    Attributes
    ----------
    base_url : ends in `/v1`, or wherever the server's API begins.
    model : the model's name there; "auto" is the first one it lists.
    slots : requests it works on at the same time.
    remote : whether the address is off this machine.
    embedded : whether it is this process's own server.
    api_key : never shown or stored.
    """

    base_url: str
    model: str = "auto"
    slots: int = 32
    remote: bool = False
    embedded: bool = False
    api_key: str = field(default="none", repr=False)


def key_from_environment() -> str:
    """Return the key in `WHYRANK_API_KEY`, else in `OPENAI_API_KEY`, else a placeholder that local servers ignore."""
    return os.environ.get("WHYRANK_API_KEY") or os.environ.get("OPENAI_API_KEY") or "none"


def check_address(base_url: str, *, allow_remote: bool = False) -> tuple[str, bool]:
    """Return the address as it will be used (`/v1` added if it has no path), and whether it is off this machine.

    A name is looked up: it counts as this machine only if it has addresses, and all of them are loopback addresses.

    Raises
    ------
    InputError
        If it is not an http(s) address, or has a password in it.
    RemoteRefused
        If it is off this machine and `allow_remote` is false.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"model address {base_url!r} is not like 'http://127.0.0.1:8000/v1'")
    if parts.username or parts.password:
        raise InputError("a model address may not hold a password: put the key into WHYRANK_API_KEY")
    remote = not _is_loopback(parts.hostname)
    if remote and not allow_remote:
        raise RemoteRefused(
            f"model address {base_url!r} is not on this machine (127.0.0.0/8, ::1, localhost): prompts would leave it. "
            "If that is meant, set `allow_remote = true` under [llm]"
        )
    path = parts.path.rstrip("/") or "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), remote


def _is_loopback(host: str) -> bool:
    try:
        return _loopback_ip(host)
    except ValueError:
        pass  # a name, not a number
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:  # whoever may ask it will be told that there is no such name
        return False
    return bool(found) and all(_loopback_ip(str(entry[4][0])) for entry in found)


def _loopback_ip(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
