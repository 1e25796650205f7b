"""``userIdentity`` of the fast path: what was said of an identity once is remembered.

A session changes its access key and its creation date, and nothing else that matters here. So what is remembered is an
identity without the two, and they are put in their places.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec import UNSET, Struct

from loader.logtypes.cloudtrail_identity import Acting, Actor, acting_as, actor_of
from loader.logtypes.cloudtrail_record import decode_identity, is_plain
from loader.logtypes.leaves import OddPayloadError
from loader.logtypes.model import Who
from loader.logtypes.remembered import Remembered
from loader.logtypes.times import parse_time

#: Identities that are kept, and their longest: those of real records have up to a thousand bytes.
_KEPT, _LONGEST = 4096, 2048
_KEY: Final = b'"accessKeyId":"'
_DATE: Final = b'"creationDate":"'
#: The first four letters of an access key tell its kind: they stay.
_KIND_LETTERS: Final = 4
_DATE_LETTERS: Final = len("2023-07-10T11:45:00Z")


class _Template(Struct, frozen=True, gc=False):
    """An actor, and ``user_identity`` as it is before the access key, between key and date, and after the date."""

    actor: Actor
    before: bytes
    between: bytes
    after: bytes


_templates: dict[bytes, _Template] = {}
_wholes: Final = Remembered[Acting](_KEPT)


def read_actor(raw: bytes) -> Acting:
    """Return the actor of ``userIdentity``'s compact JSON.

    Raises:
        OddPayloadError: there is more in it than the typed fields hold.
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: it is not what it should be.
    """
    known = _wholes.get(raw)
    if known is None:
        known = _from_template(raw)
        if len(raw) <= _LONGEST:
            _wholes.keep(raw, known)
    return known


def _from_template(raw: bytes) -> Acting:
    key_at = raw.find(_KEY)
    if key_at < 0:
        return acting_as(_read_whole(raw))
    key_at += len(_KEY)
    key_end = raw.find(b'"', key_at)
    date_at = raw.find(_DATE, key_end)
    date_at = date_at + len(_DATE) if date_at >= 0 else len(raw)
    date_end = date_at + _DATE_LETTERS
    key, date = raw[key_at:key_end], raw[date_at:date_end]
    if (
        len(key) <= _KIND_LETTERS
        or not key.isalnum()
        or (date and not (raw[date_end : date_end + 1] == b'"' and _is_exact(date)))
    ):
        return acting_as(_read_whole(raw))
    # Neither has an escape in it, and `"creationDate":"` stands for a key wherever it stands: inside a JSON string its
    # quotes would have backslashes. So all identities with this stem differ in these two texts and nothing else.
    letters = key_at + _KIND_LETTERS
    stem = raw[:letters] + raw[key_end:date_at] + raw[date_end:]
    template = _templates.get(stem)
    if template is None:
        template = _make_template(_read_whole(raw), key, date)
        if len(_templates) >= _KEPT:
            _templates.clear()
        if len(stem) <= _LONGEST:
            _templates[stem] = template
    actor = template.actor
    who = actor.who
    return Acting(
        actor,
        b"".join((template.before, key[_KIND_LETTERS:], template.between, date, template.after)),
        Who(
            who.type,
            key.decode(),
            who.principal_id,
            who.arn,
            date.decode() or None,
            who.issuer,
            who.assumed_root,
            who.on_behalf_of,
        ),
    )


@lru_cache(maxsize=1024)
def _is_exact(date: bytes) -> bool:
    moment = parse_time(date.decode("ascii", "replace"))
    return moment is not None and moment.exact


def _read_whole(raw: bytes) -> Actor:
    identity = decode_identity(raw)
    actor = actor_of(identity)
    if actor.odd_date is not UNSET or not is_plain(identity, raw):
        raise OddPayloadError
    return actor


def _make_template(actor: Actor, key: bytes, date: bytes) -> _Template:
    before, _, rest = actor.trail.partition(b'"access_key_id":"%b"' % key)
    before += b'"access_key_id":"%b' % key[:_KIND_LETTERS]
    if not date:
        return _Template(actor, before, b'"' + rest, b"")
    between, _, after = rest.partition(b'"creation_date":"%b"' % date)
    return _Template(actor, before, b'"%b"creation_date":"' % between, b'"' + after)
