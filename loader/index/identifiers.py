"""Derived ids: the same thing always gets the same id, so anything can be written any number of times."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b


def derived_id(*parts: str | bytes | int | None) -> str:
    """Return base64url of BLAKE2b-128 over ``parts``, each with its length before it so that no two lists collide."""
    digest = blake2b(digest_size=16)
    for part in parts:
        if part is None:
            digest.update(b"-")
            continue
        content = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
