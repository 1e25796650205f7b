"""Secrets by reference: ``env:NAME`` or ``secretsmanager:NAME[#key]``. A value is never stored, logged or shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from loader.clock import Clock
from loader.errors import ConfigError
from loader.notify.errors import SecretError

_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
#: A name or an ARN; https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
_MANAGER = re.compile(r"secretsmanager:([A-Za-z0-9/_+=.@:-]+)(?:#(.+))?")
#: How long a value is kept: a rotated secret is used after that, or at once when the receiver refuses the old one.
_KEEP_S = 300.0
#: Shorter values are not looked for in texts: they would take words apart.
_SHORTEST = 6


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is. What ``str`` and ``repr`` show is the reference."""

    reference: str

    def __str__(self) -> str:
        return self.reference

    @staticmethod
    def parse(text: str) -> Secret:
        """Return ``text`` as a reference.

        Raises:
            ConfigError: it is none. What was written is not repeated: it may be the secret itself.
        """
        if not (_ENVIRONMENT.fullmatch(text) or _MANAGER.fullmatch(text)):
            raise ConfigError(
                "must say where the secret is, env:NAME or secretsmanager:NAME#key, not the secret itself"
            )
        return Secret(text)


class SecretReader:
    """Reads secrets when a message is sent, and takes them out of texts that others wrote."""

    def __init__(self, *, environment: Mapping[str, str], manager: Callable[[], Any], clock: Clock) -> None:
        self._environment = environment
        self._manager = manager  # makes a boto3 client
        self._clock = clock
        self._known: dict[Secret, tuple[float, str]] = {}

    def read(self, secret: Secret) -> str:
        """Return the value.

        Raises:
            SecretError: it is not there, or empty.
        """
        known = self._known.get(secret)
        if known is not None and self._clock.monotonic() - known[0] < _KEEP_S:
            return known[1]
        value = self._read(secret)
        if not value.strip():
            raise SecretError(f"{secret} is empty")
        self._known[secret] = (self._clock.monotonic(), value.strip())
        return value.strip()

    def forget(self) -> None:
        """Read everything anew next time: a receiver refused what we have."""
        self._known = {secret: (float("-inf"), value) for secret, (_, value) in list(self._known.items())}

    def redact(self, text: str) -> str:
        """Return ``text`` without any secret that was read: receivers like to repeat what they were sent."""
        for _, value in list(self._known.values()):
            for form in {value, *value.split()}:
                if len(form) >= _SHORTEST:
                    text = text.replace(form, "***")
        return text

    def _read(self, secret: Secret) -> str:
        if match := _ENVIRONMENT.fullmatch(secret.reference):
            if match[1] not in self._environment:
                raise SecretError(f"{secret} is not set", hint="Set it where the sender runs.")
            return self._environment[match[1]]
        match = _MANAGER.fullmatch(secret.reference)
        if match is None:
            raise SecretError("not a reference to a secret")
        try:
            answer = self._manager().get_secret_value(SecretId=match[1])
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "an error")
            raise SecretError(
                f"{secret}: Secrets Manager answers {code}", hint="The sender needs secretsmanager:GetSecretValue."
            ) from None
        except BotoCoreError as error:
            raise SecretError(f"{secret}: Secrets Manager cannot be asked: {type(error).__name__}") from None
        if "SecretString" not in answer:
            raise SecretError(f"{secret} is binary; text is needed")
        return _member(secret, answer["SecretString"], match[2])


def _member(secret: Secret, text: str, key: str | None) -> str:
    if key is None:
        return text
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise SecretError(f"{secret} is no JSON, so it has no keys") from None
    if not isinstance(content, dict) or not isinstance(content.get(key), (str, int)):
        raise SecretError(f"{secret}: the secret has no such key")
    return str(content[key])
