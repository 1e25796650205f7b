"""Addresses in AWS logs: one IP, a list of them, a service's name, or words."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

_KEPT: Final = 16384
#: The longest IPv6 address in text has 45 characters.
_LONGEST: Final = 45
_LONGEST_NAME: Final = 253
_HOST: Final = re.compile(
    r"(?=.{4,253}$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}", re.ASCII
)
_AWS_HOST: Final = re.compile(
    r"(?:^|\.)(?:amazonaws\.(?:com(?:\.cn)?|cn|eu)|aws\.amazon\.com|amazon\.com|aws\.internal|aws|on\.aws|api\.aws|aws\.dev)$",
    re.ASCII,
)


@lru_cache(maxsize=_KEPT)
def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def is_ip(text: str) -> bool:
    """Return whether ``text`` is one IPv4 or IPv6 address, without a zone."""
    return len(text) <= _LONGEST and _is_ip(text)


def ips_in(text: str) -> list[str]:
    """Return the addresses in ``text``: itself, or those of a list like ``10.0.0.1, 10.0.0.2``."""
    if is_ip(text):
        return [text]
    if "," not in text or len(text) > 2048:
        return []
    return list(dict.fromkeys(part for part in (piece.strip() for piece in text.split(",")) if is_ip(part)))


def foreign_host(text: str) -> str | None:
    """Return ``text`` in lower case if it is the name of a host that is not AWS's own, else ``None``."""
    return _foreign_host(text) if len(text) <= _LONGEST_NAME else None


@lru_cache(maxsize=_KEPT)
def _foreign_host(text: str) -> str | None:
    if not _HOST.fullmatch(text) or is_ip(text):
        return None
    host = text.lower()
    return None if _AWS_HOST.search(host) else host
