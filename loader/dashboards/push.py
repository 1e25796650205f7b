"""Saved objects sent to a running OpenSearch Dashboards."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import urllib3

from loader.dashboards.flavour import OPENSEARCH_DASHBOARDS, Flavour
from loader.errors import DashboardError


@dataclass(frozen=True, slots=True)
class Target:
    """A screen and how to sign in to it. ``url`` may have a base path: ``https://search.example/_dashboards``."""

    url: str
    user: str | None = None
    password: str | None = None
    #: Tenant of the security plugin; the user's own default if absent.
    tenant: str | None = None
    ca_file: Path | None = None
    verify_tls: bool = True
    timeout_s: float = 60.0

    def __repr__(self) -> str:
        return f"Target(url={self.url!r}, user={self.user!r})"


@dataclass(frozen=True, slots=True)
class Pushed:
    """One file that was imported."""

    file: str
    objects: int


def push(files: Mapping[str, bytes], target: Target, *, flavour: Flavour = OPENSEARCH_DASHBOARDS) -> list[Pushed]:
    """Import every file (name → NDJSON), replacing objects of the same id.

    Whether a file was imported is read from the answer's ``success``: a missing reference is answered with status 200.

    Raises:
        DashboardError: the target cannot be reached or does not accept us; or files were refused, in which case the
            others were imported and the message names every refused object.
    """
    pushed, refused = [], []
    with _pool(target) as pool:
        for name, content in files.items():
            try:
                pushed.append(Pushed(name, _import(pool, name, content, target, flavour)))
            except _RefusedError as error:
                refused.append(error.message)
    if refused:
        raise DashboardError(
            "; ".join(refused),
            where=target.url,
            hint="`siem dashboards check` finds what can be found without the screen.",
        )
    return pushed


class _RefusedError(DashboardError):
    """The screen understood the request and did not import this file."""


def _pool(target: Target) -> urllib3.PoolManager:
    if urlsplit(target.url).scheme not in {"http", "https"}:
        raise DashboardError("expected a URL that begins with http:// or https://", where=target.url)
    return urllib3.PoolManager(
        timeout=target.timeout_s,
        retries=False,
        cert_reqs="CERT_REQUIRED" if target.verify_tls else "CERT_NONE",
        ca_certs=str(target.ca_file) if target.ca_file else None,
    )


def _import(pool: urllib3.PoolManager, name: str, content: bytes, target: Target, flavour: Flavour) -> int:
    """Import one file and return how many objects it brought."""
    headers = dict(flavour.import_headers)
    if target.user is not None:
        # Not urllib3's own: it writes Latin-1, and the security plugin reads UTF-8.
        credentials = b64encode(f"{target.user}:{target.password or ''}".encode()).decode()
        headers["authorization"] = f"Basic {credentials}"
    if target.tenant is not None:
        headers["securitytenant"] = target.tenant
    url = f"{target.url.rstrip('/')}{flavour.import_path}?overwrite=true"
    try:
        response = pool.request(
            "POST", url, headers=headers, fields={"file": (name, content, "application/ndjson")}, redirect=False
        )
    except urllib3.exceptions.HTTPError as error:
        raise DashboardError(
            f"cannot be reached: {error}",
            where=target.url,
            hint="Is it running, and is the URL its own, not the cluster's?",
        ) from None
    return _read_answer(response.status, response.data, name, url)


def _read_answer(status: int, data: bytes, name: str, url: str) -> int:
    try:
        answer: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        answer = None
    said = answer.get("message") if isinstance(answer, dict) else None
    if status in {401, 403} or 300 <= status < 400:
        raise DashboardError(
            f"does not accept us (status {status})",
            where=url,
            hint="Give a user and a password that may write saved objects.",
        )
    if status in {400, 413, 415, 422}:
        raise _RefusedError(f"{name}: {said or f'status {status}'}")
    if status != 200 or not isinstance(answer, dict) or "success" not in answer:
        raise DashboardError(
            f"answered status {status}{f': {said}' if said else ''}, which is no answer to an import",
            where=url,
            hint="Is this OpenSearch Dashboards, and has it finished starting?",
        )
    if answer["success"] is not True:
        errors = [_error(each) for each in answer.get("errors", []) if isinstance(each, dict)]
        raise _RefusedError(f"{name}: {', '.join(errors) or 'refused without a reason'}")
    return int(answer.get("successCount", 0))


def _error(entry: Mapping[str, Any]) -> str:
    detail = entry.get("error")
    detail = detail if isinstance(detail, dict) else {}
    missing = [
        f"{each.get('type')}/{each.get('id')}" for each in detail.get("references", []) if isinstance(each, dict)
    ]
    reason = str(detail.get("message") or detail.get("type") or "unknown error")
    return f"{entry.get('type')}/{entry.get('id')}: {reason}{' ' + ', '.join(missing) if missing else ''}"
