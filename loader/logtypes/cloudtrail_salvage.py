"""The careful way from JSON to a :class:`Record`: what fits is typed, everything else is kept as residue."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct

from loader.errors import RecordError
from loader.logtypes.cloudtrail_record import (
    KNOWN_KEYS,
    NO_PAYLOAD,
    Flag,
    NoAttributes,
    Record,
    Resource,
    Text,
    Texts,
    decode_members,
    decode_record,
    encode,
    is_plain,
)
from loader.logtypes.leaves import (
    UNUSUAL,
    Doubled,
    OddPayloadError,
    decode_payload,
    escape_key,
    is_deeper,
    parse_exactly,
)

#: A record nested deeper is refused: no real one comes near, and Python's stack is not endless.
DEEPEST: Final = 200

# A surrogate's escape in a JSON string, with the backslashes before its own and, of a whole pair, the second half.
# Other escapes are not for a regular expression: each match costs memory until the end.
_SURROGATE: Final = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\(u[dD](?:[89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|[c-fC-F][0-9a-fA-F]{2}))"
)
#: What stands for a byte that is no UTF-8, as ``surrogateescape`` decodes it.
_SPELT_OUT: Final = {letter: f"\\\\u{letter:04x}" for letter in range(0xDC80, 0xDD00)}
#: Bytes of a record with everything spelled out: seven letters for each byte are more than any reader wants.
_LONGEST_REPAIRED: Final = 16 * 2**20
#: Escapes of surrogates in one record, and values: each costs memory, and no call has that many parameters.
_MOST_SURROGATES: Final = 1_000_000
_MOST_VALUES: Final = 250_000

_BACKSLASH: Final = ord("\\")

_S = TypeVar("_S", bound=Struct)
#: JSON key → attribute of a record, of what stays as it is there.
_RAW: Final = {found.encode_name: found.name for found in msgspec.structs.fields(Record) if found.type is Raw}
#: JSON key → attribute and type of a struct's field.
_Fields = dict[str, tuple[str, Any]]


class Salvage(Struct):
    """A record taken apart.

    ``raw`` is its JSON. ``residue`` holds, by CloudTrail's names, what has no typed place: whole
    values under keys that are unknown or of an unexpected type, and the odd parts of ``addendum`` and ``resources``; to
    these :func:`take_out` adds those of ``userIdentity`` and ``tlsDetails``. ``doubled`` holds the earlier values of
    keys that occur twice, by path. ``tree`` is the whole record, of one that had to be read carefully; of any other,
    all that is known is in ``record``.
    """

    raw: bytes
    record: Record
    residue: dict[str, Any]
    doubled: dict[str, list[Any]]
    tree: dict[str, Any] | None
    _members: dict[str, Raw] | None = None

    def content(self, key: str) -> bytes | None:
        """Return the JSON under ``key``, ``None`` if there is none. What ``record`` holds decoded is not asked for."""
        if self.tree is None and key in _RAW:
            found = getattr(self.record, _RAW[key])
            return bytes(found) if found is not NO_PAYLOAD else None
        if self._members is None:
            self._members = decode_members(self.raw)
        member = self._members.get(key)
        return None if member is None else bytes(member)

    def value(self, key: str) -> Any:
        """Return the exact value under ``key``, ``UNSET`` if there is none. Asked for is what ``record`` lacks."""
        if self.tree is not None:
            return self.tree.get(key, UNSET)
        found = self.content(key) if key in _RAW else None
        return UNSET if found is None else parse(found)


def compact(raw: bytes) -> bytes:
    """Return JSON ``raw`` without white space between tokens, otherwise as it is.

    Raises:
        RecordError: not JSON, or nested deeper than Python's stack.
    """
    try:
        return msgspec.json.format(raw, indent=-1)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordError(f"not JSON: {error}", kind="invalid_json") from None


def repair(raw: bytes) -> bytes:
    r"""Return JSON ``raw`` with everything spelled out that is no Unicode text: a lone ``\ud800`` becomes ``\\ud800``.

    A byte that is not UTF-8 becomes the text ``\udcff`` (for 0xff; as Python's ``surrogateescape``). Nothing is lost.
    What needs no repair is returned itself.

    Raises:
        RecordError: too much of it is no Unicode text.
    """
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError:
            bad = len(raw) - len(raw.decode("utf-8", "ignore").encode())
            if len(raw) + bad * 6 > _LONGEST_REPAIRED:
                raise RecordError(f"{bad} of {len(raw)} bytes are no Unicode text", kind="not_unicode") from None
            raw = raw.decode("utf-8", "surrogateescape").translate(_SPELT_OUT).encode()
    if _BACKSLASH not in raw or (b"\\ud" not in raw and b"\\uD" not in raw):
        return raw
    if len(raw) > _MOST_SURROGATES and raw.count(b"\\ud") + raw.count(b"\\uD") > _MOST_SURROGATES:
        raise RecordError(f"more than {_MOST_SURROGATES} escapes of surrogates", kind="not_unicode")
    repaired = _SURROGATE.sub(_spell_out, raw)
    return raw if repaired == raw else repaired


def _spell_out(match: re.Match[bytes]) -> bytes:
    before, escape, second_half = match.groups()
    return match.group() if second_half else b"%b\\\\%b" % (before, escape)


def _too_deep() -> RecordError:
    return RecordError(f"nested deeper than {DEEPEST} levels", kind="too_deep")


def take_apart(raw: bytes, *, carefully: bool) -> Salvage:
    """Take a compact, repaired record apart; with ``carefully`` without trying the quick way first.

    Raises:
        RecordError: not JSON, no object, nested too deeply, of too many values, or without a textual ``eventTime``.
    """
    if len(raw) > _MOST_VALUES and raw.count(b",") > _MOST_VALUES:
        raise RecordError(f"more than {_MOST_VALUES} values", kind="too_many_values")
    if is_deeper(raw, DEEPEST):
        raise _too_deep()
    if not carefully:
        try:
            return _take_apart_quickly(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OddPayloadError):
            pass
    tree = parse(raw)
    if not isinstance(tree, dict):
        raise RecordError("a record is a JSON object", kind="not_an_object")
    if "eventTime" not in tree:
        raise RecordError("the record has no eventTime", kind="no_event_time")
    if type(tree["eventTime"]) is not str:
        raise RecordError("eventTime is not text", kind="bad_event_time")
    members = decode_members(raw)
    doubled: dict[str, list[Any]] = {}
    fitting, residue = _sort(tree, Record, "", doubled, members)
    return Salvage(raw, Record(**fitting), residue, doubled, tree, members)


def _take_apart_quickly(raw: bytes) -> Salvage:
    record = decode_record(raw)
    length = len(encode(record))
    members: dict[str, Raw] | None = None
    residue: dict[str, Any] = {}
    if length != len(raw):
        members = decode_members(raw)
        unknown = {key: content for key, content in members.items() if key not in KNOWN_KEYS}
        # Colons and commas count, see `is_plain`.
        length += sum([len(encode(key)) + len(content) + 2 for key, content in unknown.items()])
        residue = {key: parse(bytes(content)) for key, content in unknown.items()}
    if length != len(raw) or leaves_something(record):
        raise OddPayloadError
    return Salvage(raw, record, residue, {}, None, members)


def leaves_something(record: Record) -> bool:
    """Return whether a part of the record that decoded well has something that has no typed field."""
    if record.addendum is not UNSET:
        return True
    if record.resources is UNSET:
        return False
    for resource in record.resources:
        if resource.arn is UNSET and resource.account_id is UNSET and resource.type is UNSET:
            return True
    return not record.resources


def parse(raw: bytes) -> Any:
    """Return the value of JSON, exactly.

    Raises:
        RecordError: not JSON.
    """
    try:
        value = decode_payload(raw)
        if is_plain(value, raw):
            return value
    except UNUSUAL:
        pass  # the careful parser judges
    try:
        return parse_exactly(raw.decode())
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON: {error}", kind="invalid_json") from None


def take_out(salvage: Salvage, key: str, struct: type[_S]) -> _S | None:
    """Return the part of a record below ``key``, an object. Its oddities take its place in the residue."""
    value = salvage.value(key)
    salvage.residue.pop(key, None)
    if not isinstance(value, dict):
        if value is not UNSET:
            salvage.residue[key] = value
        return None
    fitting, odd = _sort(value, struct, f"{key}.", salvage.doubled, {})
    if odd:
        salvage.residue[key] = odd
    return struct(**fitting) if fitting or not value else None


@cache
def _fields(struct: type[Struct]) -> _Fields:
    return {found.encode_name: (found.name, _kind(found.type)) for found in msgspec.structs.fields(struct)}


def _kind(annotation: Any) -> Any:
    """Return what a field takes: an annotation of ``_SIMPLE``, or a struct."""
    if annotation in _SIMPLE:
        return Text if annotation is str else annotation
    candidates = getattr(annotation, "__args__", (annotation,))
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, Struct)), list[Resource])


_SIMPLE: Final = (Text, Flag, Texts, Raw, str)


def _sort(
    tree: dict[str, Any], struct: type[Struct], path: str, doubled: dict[str, list[Any]], members: dict[str, Raw]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort the members of ``tree`` into those that fit ``struct``, by attribute, and the residue, by key."""
    if type(tree) is Doubled:
        _note_doubled(tree, path, doubled)
    fields = _fields(struct)
    fitting: dict[str, Any] = {}
    residue: dict[str, Any] = {}
    for key, value in tree.items():
        attribute, kind = fields.get(key, ("", None))
        if kind is Text:
            if type(value) is str:
                fitting[attribute] = value
            else:
                residue[key] = value
            continue
        typed, odd = _typed(key, value, kind, path, doubled, members)
        if typed is not None:
            fitting[attribute] = typed
        if odd is not None:
            residue[key] = odd[0]
    return fitting, residue


def _note_doubled(tree: Doubled, path: str, doubled: dict[str, list[Any]]) -> None:
    seen: dict[str, Any] = {}
    for key, value in tree.pairs:
        if key in seen:
            doubled.setdefault(path + escape_key(key), []).append(seen[key])
        seen[key] = value


def _typed(
    key: str, value: Any, kind: Any, path: str, doubled: dict[str, list[Any]], members: dict[str, Raw]
) -> tuple[Any, tuple[Any] | None]:
    """Return ``value`` as ``kind`` wants it (``None``: it does not fit), and what of it does not fit, in a tuple."""
    if kind is Flag:
        fits = type(value) is bool or (type(value) is str and value in ("true", "false"))
        return (value, None) if fits else (None, (value,))
    if kind is Raw:
        # userIdentity and tlsDetails are parts of their own; `take_out` takes them back out of the residue.
        return (None, (value,)) if key in ("userIdentity", "tlsDetails") else (members[key], None)
    if kind is Texts:
        fits = type(value) is str or (
            isinstance(value, list) and bool(value) and all(type(element) is str for element in value)
        )
        return (value, None) if fits else (None, (value,))
    if kind == list[Resource]:
        return _resources(value, doubled) if isinstance(value, list) else (None, (value,))
    if kind is None or kind is NoAttributes or not isinstance(value, dict):
        return None, (value,)
    fitting, odd = _sort(value, kind, f"{path}{key}.", doubled, {})
    if not value:
        # Below userIdentity an empty object has a typed place, see cloudtrail_identity.
        return kind(), None if path else (value,)
    return kind(**fitting) if fitting else None, (odd,) if odd else None


def _resources(values: list[Any], doubled: dict[str, list[Any]]) -> tuple[list[Resource] | None, tuple[Any] | None]:
    typed: list[Resource] = []
    odd: list[Any] = []
    for value in values:
        if not isinstance(value, dict):
            odd.append(value)
            continue
        fitting, rest = _sort(value, Resource, "resources.", doubled, {})
        if fitting:
            typed.append(Resource(**fitting))
        if rest or not value:
            odd.append(rest)
    return typed or None, (odd,) if odd or not values else None
