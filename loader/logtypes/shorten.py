"""Values longer than their keyword field takes: cut in the field, kept whole beside it."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, structs

from loader.logtypes.model import Rendered

#: ``ignore_above`` of the keyword fields in ``mappings/``, in UTF-16 units: longer values are not indexed at all.
LONGEST_KEYWORD: Final = 8191

_PAYLOADS: Final = "aws.cloudtrail.flattened"
_WHOLE: Final = ("aws.cloudtrail.leaves", _PAYLOADS)
_decode: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def shorten(rendered: Rendered) -> Rendered:
    """Return the document with every typed text cut to what its field takes.

    A cut text is kept whole as ``aws.cloudtrail.flattened.overlong.<field>``, and ``siem.truncated`` names the field.
    """
    overlong: dict[str, list[str]] = {}
    document = _shorten_object(_decode(rendered.body), "", overlong)
    if not overlong:
        return rendered
    aws = _decode(document["aws"])
    cloudtrail = _decode(aws["cloudtrail"])
    flattened = _decode(cloudtrail["flattened"]) if "flattened" in cloudtrail else {}
    flattened["overlong"] = Raw(
        _encode({path: texts[0] if len(texts) == 1 else texts for path, texts in overlong.items()})
    )
    cloudtrail["flattened"] = Raw(_encode(flattened))
    aws["cloudtrail"] = Raw(_encode(cloudtrail))
    document["aws"] = Raw(_encode(aws))
    siem = _decode(document["siem"]) if "siem" in document else {}
    named = msgspec.json.decode(siem.pop("truncated", Raw(b"[]")))
    document["siem"] = Raw(_encode({"truncated": [*named, *overlong], **siem}))
    return structs.replace(rendered, body=_encode(document))


def _shorten_object(members: dict[str, Raw], path: str, overlong: dict[str, list[str]]) -> dict[str, Raw]:
    for name, raw in members.items():
        place = f"{path}{name}"
        if len(raw) > LONGEST_KEYWORD and place not in _WHOLE:
            content = bytes(raw)
            if content.startswith(b"{"):
                members[name] = Raw(_encode(_shorten_object(_decode(content), f"{place}.", overlong)))
            else:
                members[name] = Raw(_encode(_shorten_value(msgspec.json.decode(content), place, overlong)))
    return members


def _shorten_value(value: Any, path: str, overlong: dict[str, list[str]]) -> Any:
    if isinstance(value, list):
        return [_shorten_value(element, path, overlong) for element in value]
    if isinstance(value, dict):
        return {name: _shorten_value(inner, f"{path}.{name}", overlong) for name, inner in value.items()}
    if not isinstance(value, str) or _units(value) <= LONGEST_KEYWORD:
        return value
    kept = overlong.setdefault(path, [])
    if value not in kept:
        kept.append(value)
    return cut(value)


def _units(text: str) -> int:
    """Return the length of ``text`` as Java counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def cut(text: str) -> str:
    """Return ``text``, cut at a character to :data:`LONGEST_KEYWORD` UTF-16 units."""
    if text.isascii():
        return text[:LONGEST_KEYWORD]
    return text.encode("utf-16-le")[: LONGEST_KEYWORD * 2].decode("utf-16-le", "ignore")
