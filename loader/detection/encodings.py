"""Base64 of the text a rule's author wrote.

pySigma 1.5.1 encodes the escaped form of a value (``a\\*b`` with its backslash), takes lengths in characters where
Base64 counts bytes, and writes UTF-16's byte order mark in UTF-8. Each finds nothing in real data, silently.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from sigma.modifiers import (
    SigmaBase64Modifier,
    SigmaBase64OffsetModifier,
    SigmaModifier,
    SigmaUTF16Modifier,
)
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaRule
from sigma.types import SigmaExpansion, SigmaString

_MARK = "\ufeff"


def correct_encodings(rule: SigmaRule) -> None:
    """Apply the Base64 modifiers of ``rule`` anew, from the values as they were written."""
    for detection in rule.detection.detections.values():
        _correct(detection)


def _correct(detection: SigmaDetection) -> None:
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            _correct(item)
        elif any(modifier in _CORRECTED for modifier in item.modifiers):
            _again(item)


def _again(item: SigmaDetectionItem) -> None:
    item.value = list(item.original_value or [])
    written = item.modifiers
    item.modifiers = [_CORRECTED.get(modifier, modifier) for modifier in written]
    item.apply_modifiers()
    item.modifiers = written


def _bytes(value: SigmaString, utf16: bool) -> bytes:
    text = "".join(part for part in value.s if isinstance(part, str))
    if utf16 and text.startswith(_MARK):
        return b"\xff\xfe" + text[1:].encode()
    return text.encode()


def _is_utf16(modifier: SigmaModifier[Any, Any]) -> bool:
    return any(applied is SigmaUTF16Modifier for applied in modifier.applied_modifiers)


class _Base64(SigmaBase64Modifier):
    def modify(self, val: SigmaString) -> SigmaString:
        super().modify(val)  # refuses wildcards
        return SigmaString(b64encode(_bytes(val, _is_utf16(self))).decode())


class _Base64Offset(SigmaBase64OffsetModifier):
    def modify(self, val: SigmaString) -> SigmaExpansion:
        super().modify(val)  # refuses wildcards
        data = _bytes(val, _is_utf16(self))
        encoded = (
            b64encode(offset * b" " + data)[self.start_offsets[offset] : self.end_offsets[(len(data) + offset) % 3]]
            for offset in range(3)
        )
        return SigmaExpansion([SigmaString(text.decode()) for text in encoded])


_CORRECTED: dict[type[SigmaModifier[Any, Any]], type[SigmaModifier[Any, Any]]] = {
    SigmaBase64Modifier: _Base64,
    SigmaBase64OffsetModifier: _Base64Offset,
}
