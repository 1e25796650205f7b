"""One HTTP POST to an address of the configuration: no redirects, time-outs, and an answer of bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from time import monotonic
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from loader.detection.reason import clean
from loader.errors import ConfigError
from loader.notify.errors import SendError

#: Bytes of an answer that are read; of an error's, so many characters are shown.
_ANSWER_BYTES = 16 * 2**10
_SHOWN = 200
_CONNECT_S, _READ_S = 5.0, 20.0
#: Longest rest that a receiver may ask for.
_LONGEST_REST_S = 3600.0
_LATER = frozenset((408, 425, 429))
#: The receiver dislikes this message, not the next.
_THIS_ONE = frozenset((400, 413, 415, 422))


def checked_url(url: str) -> str:
    """Return ``url`` if messages may be sent there. It is not repeated in errors: Slack's are secrets.

    Raises:
        ConfigError: it is no address, is not encrypted on the way, or carries a password.
    """
    parts = urlsplit(url)
    if any(not character.isprintable() or character.isspace() for character in url) or not parts.hostname:
        raise ConfigError("not a web address")
    try:
        _ = parts.port
    except ValueError:
        raise ConfigError("not a web address: the port is no number") from None
    if parts.username or parts.password:
        raise ConfigError("must not carry a password", hint="Use headers: with a secret.")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigError("must begin with https: alerts name people, addresses and what they did")
    if parts.scheme not in ("http", "https"):
        raise ConfigError("must begin with https")
    return url


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Poster:
    """Sends requests. Redirects are not followed and proxies of the environment not used: the address is the one that
    was written down."""

    def __init__(self, *, connect_s: float = _CONNECT_S, read_s: float = _READ_S) -> None:
        self._timeout = urllib3.Timeout(connect=connect_s, read=read_s)
        self._deadline = connect_s + read_s
        self._pool = urllib3.PoolManager(num_pools=10, retries=False)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> str:
        """Send ``body`` and return the answer's beginning, once the receiver has said that it has it (2xx).

        Raises:
            SendError: it did not, or nobody knows.
        """
        try:
            answer = self._pool.request(
                "POST",
                url,
                body=body,
                headers={"User-Agent": "cloudtrail-siem", "Content-Type": "application/json", **headers},
                redirect=False,
                retries=False,
                timeout=self._timeout,
                preload_content=False,
            )
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise SendError(f"the receiver cannot be reached: {type(error).__name__}") from None
        except SSLError:
            raise SendError("the receiver's certificate cannot be trusted") from None
        except HTTPError as error:
            raise SendError(f"the connection broke: {type(error).__name__}", maybe_taken=True) from None
        try:
            text = self._read(answer)
        finally:
            answer.close()
        if 200 <= answer.status < 300:
            return text
        raise _refusal(answer.status, answer.headers.get("Retry-After"), text)

    def _read(self, answer: urllib3.BaseHTTPResponse) -> str:
        """Return the beginning of the answer. What it says is of no weight: its status has come already."""
        until, found = monotonic() + self._deadline, b""
        try:
            while len(found) < _ANSWER_BYTES and monotonic() < until:
                part = answer.read(1024, decode_content=False)
                if not part:
                    break
                found += part
        except HTTPError:
            pass
        return clean(found.decode("utf-8", "replace"), _SHOWN)


def _refusal(status: int, retry_after: str | None, text: str) -> SendError:
    said = f": {text}" if text else ""
    if 300 <= status < 400:
        return SendError(f"the receiver answers {status}, another address", hint="Redirects are not followed.")
    if status in _LATER or status >= 500:
        rest = _seconds(retry_after)
        return SendError(f"the receiver answers {status}{said}", maybe_taken=status >= 500, retry_after=rest)
    return SendError(f"the receiver answers {status}{said}", whole_channel=status not in _THIS_ONE)


def _seconds(retry_after: str | None) -> float | None:
    """Return ``Retry-After`` (RFC 9110, 10.2.3: seconds or a date) in seconds, at most an hour."""
    if not retry_after:
        return None
    try:
        seconds = float(int(retry_after))
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        seconds = (moment - datetime.now(timezone.utc)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_REST_S)
