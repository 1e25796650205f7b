"""Numbers, addresses and dates written as text: comparisons as regular expressions, bounded where text can say more.

In leaves and keyword fields a number is the text of the record. For non-negative whole bounds the expressions are
exact for every way of writing a number but one with an exponent (``1.0E7``, as Java writes doubles); those are let
through and verified on ``_source``.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

Op = Literal["lt", "lte", "gt", "gte"]

_FRACTION = r"(\.[0-9]+)?"
_NOT_ZERO = r"\.[0-9]*[1-9][0-9]*"
_WITH_EXPONENT = r"\-?[0-9]+(\.[0-9]+)?e[\+\-]?[0-9]+"
_ANY_NUMBER = r"\-?[0-9]+(\.[0-9]+)?(e[\+\-]?[0-9]+)?"


def number_expressions(op: Op, bound: float) -> tuple[str, str | None]:
    """Return Lucene expressions (lower case) for the text of numbers that satisfy ``op bound``.

    The first matches all of them and perhaps others, the second only such (``None``: nothing is certain).
    """
    if bound != int(bound) or bound < 0:
        return _ANY_NUMBER, None
    whole = int(bound)
    if op in ("gt", "gte"):
        parts = [f"0*({_above(whole)}){_FRACTION}"]
        parts.append(f"0*{whole}{_FRACTION}" if op == "gte" else f"0*{whole}{_NOT_ZERO}")
        if op == "gte" and not whole:
            parts.append(r"\-0+(\.0+)?")
    else:
        parts = [r"\-[0-9]+" + _FRACTION]
        if op == "lt" and not whole:
            parts = [r"\-[0-9]*[1-9][0-9]*" + _FRACTION, rf"\-0+{_NOT_ZERO}"]
        if whole:
            parts.append(f"0*({_below(whole)}){_FRACTION}")
        if op == "lte":
            parts.append(rf"0*{whole}(\.0+)?")
    certain = "|".join(parts)
    return f"{certain}|{_WITH_EXPONENT}", certain


def _above(whole: int) -> str:
    """Match whole numbers greater than ``whole``, written without leading zeros."""
    digits = str(whole)
    parts = [f"[1-9][0-9]{{{len(digits)},}}"]
    for index, digit in enumerate(digits):
        if digit != "9":
            parts.append(digits[:index] + _digits(int(digit) + 1, 9) + _more(len(digits) - index - 1))
    return "|".join(parts)


def _below(whole: int) -> str:
    """Match whole numbers less than ``whole`` (which is positive), written without leading zeros; 0 may be empty."""
    digits = str(whole)
    parts = ["0"]
    if len(digits) > 1:
        parts.append(f"[1-9][0-9]{{0,{len(digits) - 2}}}")
    for index, digit in enumerate(digits):
        low = 1 if index == 0 else 0
        if int(digit) > low:
            parts.append(digits[:index] + _digits(low, int(digit) - 1) + _more(len(digits) - index - 1))
    return "|".join(parts)


def _digits(low: int, high: int) -> str:
    return str(low) if low == high else f"[{low}-{high}]"


def _more(count: int) -> str:
    return "" if count == 0 else "[0-9]" if count == 1 else f"[0-9]{{{count}}}"


def network_expression(network: IPv4Network | IPv6Network) -> tuple[str, bool]:
    """Return a Lucene expression for addresses in ``network`` written as text, and whether it is exact.

    IPv4 addresses have one way of being written; IPv6 has many, so the expression only says that it is one.
    """
    if isinstance(network, IPv6Network):
        return r"[0-9a-f:\.]*:[0-9a-f:\.]*", False
    first, last = network.network_address.packed, network.broadcast_address.packed
    return r"\.".join("|".join(_octets(low, high)).join("()") for low, high in zip(first, last, strict=True)), True


def _octets(low: int, high: int) -> Iterator[str]:
    """Match 0 to 255, or the part of it from ``low`` to ``high``."""
    if (low, high) == (0, 255):
        yield "[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]"
        return
    for start in range(low - low % 10, high + 1, 10):
        a, b = max(low, start), min(high, start + 9)
        yield (str(a // 10) if a >= 10 else "") + _digits(a % 10, b % 10)
