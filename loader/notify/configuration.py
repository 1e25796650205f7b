"""``notify.yml``: channels, and which alerts go to which of them. Every problem is told, each with its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from loader.detection.load import read_documents, timespan
from loader.detection.model import Level, Problem
from loader.errors import ConfigError
from loader.notify.channel import ChannelType, Option
from loader.notify.mail import MAIL
from loader.notify.message import LEVELS
from loader.notify.pagerduty import PAGERDUTY
from loader.notify.post import checked_url, is_loopback
from loader.notify.routing import DEFAULT_LEVELS, Route
from loader.notify.secret import Secret
from loader.notify.slack import SLACK
from loader.notify.sns import SNS
from loader.notify.webhook import WEBHOOK

TYPES: tuple[ChannelType, ...] = (WEBHOOK, SLACK, SNS, MAIL, PAGERDUTY)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RATE = re.compile(r"(\d{1,4}) in (\d{1,4}[smh])")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_COMMON = ("type", "rate", "give_up_after")
_ROUTE_KEYS = ("levels", "rules", "tags", "accounts", "historic", "channels")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``messages`` within ``period``; what is more becomes a digest."""

    messages: int = 10
    period: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """One channel as configured. Secrets in ``options`` are references."""

    name: str
    type: ChannelType
    options: Mapping[str, Any]
    rate: Rate = Rate()
    give_up_after: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The file's content, as far as it can be used, and what is wrong with it."""

    channels: Mapping[str, ChannelConfig] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Return the problems that make the file unusable."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def load_configuration(path: Path) -> Configuration:
    """Read a file that is to be used.

    Raises:
        ConfigError: it cannot be used; every problem is named with its line.
    """
    found = check_configuration(path)
    if found.errors:
        told = "; ".join(f"line {problem.line}: {problem.message}" for problem in found.errors)
        raise ConfigError(f"unusable: {told}", where=found.errors[0].where, hint=f"siem notify check {path}")
    return found


def check_configuration(path: Path) -> Configuration:
    """Read a file. Never raises for what is in it."""
    try:
        documents = read_documents(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "strerror", None) or type(error).__name__
        line = mark.line + 1 if mark else 1
        return Configuration(problems=(Problem(path, line, "yaml", f"cannot be read as YAML: {reason}"),))
    if len(documents) != 1 or not isinstance(documents[0].content, dict):
        return Configuration(problems=(Problem(path, 1, "form", "must be one map with channels: and routes:"),))
    return _Reader(path, documents[0].content, documents[0].lines).read()


class _Reader:
    def __init__(self, path: Path, content: Mapping[str, Any], lines: Mapping[tuple[str | int, ...], int]) -> None:
        self._path = path
        self._content = content
        self._lines = lines
        self._problems: list[Problem] = []

    def read(self) -> Configuration:
        self._known((), self._content, ("channels", "routes"))
        listed = self._content.get("channels")
        channels: dict[str, ChannelConfig] = {}
        names: set[str] = set()
        if not isinstance(listed, dict) or not listed:
            self._tell(("channels",), "must be a map of at least one channel")
        else:
            names = {str(name) for name in listed}
            for name, body in listed.items():
                if channel := self._channel(str(name), body):
                    channels[channel.name] = channel
        routes = self._routes(names)
        used = {name for route in routes for name in route.channels}
        for name in sorted(names - used):
            self._tell(("channels", name), f"no route leads to {name}", severity="warning")
        return Configuration(channels, routes, tuple(sorted(self._problems, key=lambda problem: problem.line)))

    def _tell(self, where: tuple[str | int, ...], message: str, *, hint: str | None = None, **more: Any) -> None:
        name = ".".join(str(part) for part in where)
        while where and where not in self._lines:
            where = where[:-1]
        line = self._lines.get(where, 1)
        self._problems.append(Problem(self._path, line, "notify", f"{name} {message}".strip(), hint=hint, **more))

    def _known(self, where: tuple[str | int, ...], body: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
        for key in body:
            if str(key) not in allowed:
                self._tell((*where, str(key)), f"is not known here; there are {', '.join(allowed)}")

    def _channel(self, name: str, body: Any) -> ChannelConfig | None:
        where = ("channels", name)
        if not _NAME.fullmatch(name):
            self._tell(where, "must be a name of small letters, digits, - and _")
            return None
        if not isinstance(body, dict):
            self._tell(where, "must be a map with a type:")
            return None
        kinds = {kind.name: kind for kind in TYPES}
        kind = kinds.get(str(body.get("type")))
        if kind is None:
            self._tell((*where, "type"), f"must be one of {', '.join(kinds)}")
            return None
        before = len(self._problems)
        self._known(where, body, (*_COMMON, *kind.options))
        options = {key: self._option((*where, key), option, body.get(key)) for key, option in kind.options.items()}
        rate = self._rate((*where, "rate"), body.get("rate"))
        patience = self._span((*where, "give_up_after"), body.get("give_up_after"), timedelta(hours=24))
        if len(self._problems) == before:
            for key, message in kind.check(options):
                self._tell((*where, key), message)
        if len(self._problems) > before:
            return None
        return ChannelConfig(name, kind, options, rate, patience)

    def _option(self, where: tuple[str | int, ...], option: Option, value: Any) -> Any:
        if value is None:
            if option.required:
                self._tell(where, "is missing")
            return option.default
        try:
            return _VALUES[option.kind](option, value)
        except ConfigError as error:
            self._tell(where, error.message, hint=error.hint)
            return option.default

    def _rate(self, where: tuple[str | int, ...], value: Any) -> Rate:
        if value is None:
            return Rate()
        match = _RATE.fullmatch(str(value))
        if not match or not int(match[1]):
            self._tell(where, "must say how many messages in what time, such as 20 in 10m")
            return Rate()
        return Rate(int(match[1]), self._span(where, match[2], timedelta(minutes=10)))

    def _span(self, where: tuple[str | int, ...], value: Any, default: timedelta) -> timedelta:
        if value is None:
            return default
        try:
            return timedelta(seconds=timespan(value))
        except (ValueError, OverflowError):
            self._tell(where, "must be a time span such as 30m, 24h or 7d")
            return default

    def _routes(self, names: set[str]) -> tuple[Route, ...]:
        listed = self._content.get("routes")
        if not isinstance(listed, list) or not listed:
            self._tell(("routes",), "must be a list of at least one route: without, nobody is told anything")
            return ()
        return tuple(route for number, body in enumerate(listed) if (route := self._route(number, body, names)))

    def _route(self, number: int, body: Any, names: set[str]) -> Route | None:
        where = ("routes", number)
        if not isinstance(body, dict):
            self._tell(where, "must be a map with channels:")
            return None
        self._known(where, body, _ROUTE_KEYS)
        levels = self._levels((*where, "levels"), body)
        channels = self._texts((*where, "channels"), body.get("channels"))
        if not channels:
            self._tell((*where, "channels"), "must name at least one channel")
        for place, name in enumerate(channels):
            if name not in names:
                self._tell((*where, "channels", place), f"{name}: there is no such channel")
        historic = body.get("historic", False)
        if not isinstance(historic, bool):
            self._tell((*where, "historic"), "must be true or false")
        rules, tags, accounts = (
            frozenset(self._texts((*where, key), body.get(key))) for key in ("rules", "tags", "accounts")
        )
        return Route(levels, rules, tags, accounts, bool(historic), tuple(dict.fromkeys(channels)))

    def _levels(self, where: tuple[str | int, ...], body: Mapping[str, Any]) -> frozenset[Level]:
        if "levels" not in body:
            return DEFAULT_LEVELS
        found = self._texts(where, body["levels"])
        if not found:
            self._tell(where, "must name at least one level")
        for place, level in enumerate(found):
            if level not in LEVELS:
                self._tell((*where, place), f"{level} is none of {', '.join(LEVELS)}")
        return frozenset(level for level in LEVELS if level in found)

    def _texts(self, where: tuple[str | int, ...], value: Any) -> list[str]:
        if value is None:
            return []
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(part, (str, int)) and not isinstance(part, bool) for part in found):
            self._tell(where, "must be a list of texts")
            return []
        if any(isinstance(part, int) and where[-1] == "accounts" for part in found):
            # YAML reads 012345678901 as a number, an octal one even.
            self._tell(where, "must be in quotes: account ids are no numbers")
        return [str(part) for part in found]


def _text(_: Option, value: Any) -> str:
    text = str(value)
    if isinstance(value, (dict, list, bool)) or not text or not text.isprintable():
        raise ConfigError("must be a text of one line")
    return text


def _secret(_: Option, value: Any) -> Secret:
    return Secret.parse(str(value))


def _url(_: Option, value: Any) -> str | Secret:
    text = str(value)
    return Secret.parse(text) if text.startswith(("env:", "secretsmanager:")) else checked_url(text)


def _secret_url(option: Option, value: Any) -> str | Secret:
    found = _url(option, value)
    if isinstance(found, str) and not is_loopback(urlsplit(found).hostname or ""):
        raise ConfigError(
            "is a secret, whoever knows it can write: put it into env:NAME or secretsmanager:NAME, and replace it"
        )
    return found


def _headers(option: Option, value: Any) -> dict[str, str | Secret]:
    if not isinstance(value, dict):
        raise ConfigError("must be a map of names and values")
    found: dict[str, str | Secret] = {}
    for name, text in value.items():
        if not _HEADER.fullmatch(str(name)):
            raise ConfigError("has a name that no header can have")
        words = str(text)
        if words.startswith(("env:", "secretsmanager:")):
            found[str(name)] = Secret.parse(words)
        elif str(name).lower() in ("authorization", "proxy-authorization", "cookie", "x-api-key"):
            raise ConfigError(f"{name} is a secret: write env:NAME or secretsmanager:NAME#key")
        else:
            if not words.isascii():
                raise ConfigError(f"{name} has characters that no header can have")
            found[str(name)] = _text(option, text)
    return found


def _addresses(_: Option, value: Any) -> list[str]:
    found = [str(part) for part in (value if isinstance(value, list) else [value])]
    if not found or not all(_ADDRESS.fullmatch(part) for part in found):
        raise ConfigError("must be e-mail addresses, plain ones without a name")
    return found


def _number(_: Option, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise ConfigError("must be a port, 1 to 65535")
    return value


def _choice(option: Option, value: Any) -> str:
    # YAML reads a bare `none` as text, but `off` and `no` as false.
    if str(value) not in option.choices:
        raise ConfigError(f"must be one of {', '.join(option.choices)}")
    return str(value)


_VALUES: Mapping[str, Callable[[Option, Any], Any]] = {
    "text": _text,
    "secret": _secret,
    "url": _url,
    "secret url": _secret_url,
    "headers": _headers,
    "addresses": _addresses,
    "number": _number,
    "choice": _choice,
}
