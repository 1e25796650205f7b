"""Random worlds of users and sessions, as CloudTrail would record them, with the truth beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from loader.identity.extract import edges
from loader.identity.model import Edge
from loader.identity.times import text_of

BEGIN = 1_700_000_000
ACCOUNTS = ("111111111111", "222222222222", "333333333333")


@dataclass
class Session:
    """What really happened: ``root`` is the unique id of the user at the beginning."""

    key: str
    principal_id: str
    arn: str
    account: str
    start: int
    end: int
    root: str
    depth: int
    console: bool = False
    user_identity: dict[str, Any] = field(default_factory=dict)


@dataclass
class World:
    sessions: list[Session]
    records: list[dict[str, Any]]

    def edges(self) -> list[Edge]:
        return [edge for record in self.records for edge in edges(record)]


@st.composite
def worlds(draw: st.DrawFn, max_sessions: int = 12, *, tag: str = "") -> World:
    """Users whose names are reused, role sessions whose names are reused, chains over accounts, all recorded."""
    users = []
    for number in range(draw(st.integers(1, 3))):
        account, name = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from(["ann", "bob"]))
        users.append(
            {
                "type": "IAMUser",
                "principalId": f"AIDA{tag}U{number}",
                "arn": f"arn:aws:iam::{account}:user/{name}{tag}",
                "accountId": account,
                "accessKeyId": f"AKIA{tag}U{number}",
                "userName": name,
            }
        )
    world = World([], [])
    now = BEGIN
    for number in range(draw(st.integers(1, max_sessions))):
        now += draw(st.integers(0, 900))
        open_now = [s for s in world.sessions if s.start <= now <= s.end]
        choice = draw(st.integers(0, len(users) + len(open_now) * 2 - 1))
        caller = users[choice] if choice < len(users) else open_now[(choice - len(users)) % len(open_now)].user_identity
        parent = next((s for s in open_now if s.user_identity is caller), None)
        role = draw(st.integers(0, 2))
        target = ACCOUNTS[role]
        name = draw(st.sampled_from(["ci", "ops"]))
        key, principal_id = f"ASIA{tag}S{number}", f"AROA{tag}R{role}:{name}"
        arn = f"arn:aws:sts::{target}:assumed-role/{tag}R{role}/{name}"
        duration = draw(st.sampled_from([900, 3600]))
        session = Session(
            key=key,
            principal_id=principal_id,
            arn=arn,
            account=target,
            start=now,
            end=now + duration,
            root=parent.root if parent else caller["principalId"],
            depth=parent.depth + 1 if parent else 1,
        )
        session.user_identity = {
            "type": "AssumedRole",
            "principalId": principal_id,
            "arn": arn,
            "accountId": target,
            "accessKeyId": key,
            "sessionContext": {
                "sessionIssuer": {"type": "Role", "principalId": f"AROA{tag}R{role}", "accountId": target},
                "attributes": {"creationDate": text_of(now)},
            },
        }
        world.sessions.append(session)
        world.records += _records(session, caller, f"{tag}{number}", duration, draw(st.booleans()))
    return world


def _records(
    session: Session, caller: dict[str, Any], number: str, duration: int, shows_id: bool
) -> list[dict[str, Any]]:
    shared = caller["accountId"] != session.account
    response: dict[str, Any] = {"credentials": {"accessKeyId": session.key, "expiration": text_of(session.end)}}
    if shows_id:
        response["assumedRoleUser"] = {"assumedRoleId": session.principal_id, "arn": session.arn}
    record = {
        "eventTime": text_of(session.start),
        "eventSource": "sts.amazonaws.com",
        "eventName": "AssumeRole",
        "eventID": f"e-{number}",
        "recipientAccountId": caller["accountId"],
        "userIdentity": caller,
        "requestParameters": {
            "roleArn": f"arn:aws:iam::{session.account}:role/x/{session.arn.split('/')[1]}",
            "roleSessionName": session.arn.split("/")[2],
            "durationSeconds": duration,
        },
        "responseElements": response,
        **({"sharedEventID": f"shared-{number}"} if shared else {}),
    }
    if not shared:
        return [record]
    other = {"type": "AWSAccount", "principalId": caller["principalId"], "accountId": caller["accountId"]}
    return [
        record,
        {**record, "eventID": f"o-{number}", "recipientAccountId": session.account, "userIdentity": other},
    ]


@st.composite
def deliveries(draw: st.DrawFn, edges: list[Edge]) -> list[Edge]:
    """Any order, some more than once."""
    again = draw(st.lists(st.sampled_from(edges), max_size=5)) if edges else []
    return list(draw(st.permutations(edges + again)))
