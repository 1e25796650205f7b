"""The table over CloudTrail's own files: its DDL, and where in it a document's field is.

Columns are those of AWS's page (https://docs.aws.amazon.com/athena/latest/ug/create-cloudtrail-table-partition-projection.html)
and the members of a record that came later; payloads are columns of JSON text. The SerDe leaves out what a file lacks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loader.detection.export.model import UnsaidError
from loader.detection.fields import Schema, sigma_names, snake

#: A column is text, a struct (a map of members) or an array of structs (a list of one map).
Column = Any
_TEXT = "string"


def _texts(names: str) -> dict[str, Column]:
    return dict.fromkeys(names.split(), _TEXT)


COLUMNS: Mapping[str, Column] = {
    "eventversion": _TEXT,
    "useridentity": {
        **_texts("type principalid arn accountid accesskeyid username invokedby credentialid identityprovider"),
        "inscopeof": _texts("issuertype credentialsissuedto sourcearn sourceaccount"),
        "invokedbydelegate": _texts("accountid"),
        "onbehalfof": _texts("userid identitystorearn"),
        "sessioncontext": {
            "attributes": _texts("mfaauthenticated creationdate"),
            "sessionissuer": _texts("type principalid arn accountid username"),
            "webidfederationdata": _texts("federatedprovider"),
            **_texts("ec2roledelivery sourceidentity assumedroot signinsessionarn"),
        },
    },
    **_texts("eventtime eventsource eventname awsregion sourceipaddress useragent errorcode errormessage"),
    **_texts("requestparameters responseelements additionaleventdata requestid eventid readonly"),
    "resources": [_texts("arn accountid type")],
    **_texts("eventtype managementevent apiversion recipientaccountid sharedeventid vpcendpointid"),
    **_texts("vpcendpointaccountid eventcategory serviceeventdetails insightdetails eventcontext edgedevicedetails"),
    "addendum": _texts("reason updatedfields originalrequestid originaleventid"),
    **_texts("sessioncredentialfromconsole"),
    "tlsdetails": _texts("tlsversion ciphersuite clientprovidedhostheader keyexchange"),
}
#: Columns of JSON text, by the payload's name.
PAYLOADS = {
    name.lower(): name
    for name in (
        "requestParameters",
        "responseElements",
        "additionalEventData",
        "serviceEventDetails",
        "insightDetails",
        "eventContext",
        "edgeDeviceDetails",
    )
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/-]*)?")
_ORGANISATION = re.compile(r"o-[a-z0-9]{10,32}")


@dataclass(frozen=True, slots=True)
class Table:
    """Where the table is and what it is over. ``location`` ends before ``AWSLogs``.

    Raises:
        ValueError: at construction, when a name or a place is not of its form: none is ever quoted into a statement.
    """

    database: str = "default"
    name: str = "cloudtrail_logs"
    location: str = ""
    accounts: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    organisation: str | None = None

    def __post_init__(self) -> None:
        for name in (self.database, self.name):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a table or database: letters, digits and _ only")
        if self.location and not _BUCKET.fullmatch(self.location):
            raise ValueError(f"{self.location!r} is no place of log files, like s3://bucket/prefix")
        if bad := [one for one in self.accounts if not re.fullmatch(r"[0-9]{12}", one)]:
            raise ValueError(f"{bad[0]!r} is no account: 12 digits")
        if bad := [one for one in self.regions if not re.fullmatch(r"[a-z0-9-]{4,30}", one)]:
            raise ValueError(f"{bad[0]!r} is no Region, like eu-central-1")
        if self.organisation is not None and not _ORGANISATION.fullmatch(self.organisation):
            raise ValueError(f"{self.organisation!r} is no organisation, like o-a1b2c3d4e5")

    @property
    def qualified(self) -> str:
        """Return the table as queries name it."""
        return f'"{self.database}"."{self.name}"'

    def ddl(self) -> str:
        """Return ``CREATE EXTERNAL TABLE`` with partition projection over account, region and day."""
        root = self.location.replace("'", "''").rstrip("/")
        root += f"/AWSLogs/{self.organisation}/" if self.organisation else "/AWSLogs/"
        columns = ",\n  ".join(f"`{name}` {_ddl_type(kind)}" for name, kind in COLUMNS.items())
        properties = {
            "projection.enabled": "true",
            "projection.account.type": "enum",
            "projection.account.values": ",".join(self.accounts),
            "projection.region.type": "enum",
            "projection.region.values": ",".join(self.regions),
            "projection.day.type": "date",
            "projection.day.format": "yyyy/MM/dd",
            "projection.day.interval": "1",
            "projection.day.interval.unit": "DAYS",
            "projection.day.range": "NOW-3YEARS,NOW",
            "storage.location.template": root + "${account}/CloudTrail/${region}/${day}",
        }
        listed = ",\n  ".join(f"'{name}' = '{value}'" for name, value in properties.items())
        return (
            f"CREATE EXTERNAL TABLE `{self.database}`.`{self.name}` (\n  {columns}\n)\n"
            "PARTITIONED BY (`account` string, `region` string, `day` string)\n"
            "ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe'\n"
            "STORED AS INPUTFORMAT 'com.amazon.emr.cloudtrail.CloudTrailInputFormat'\n"
            "OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'\n"
            f"LOCATION '{root}'\n"
            f"TBLPROPERTIES (\n  {listed}\n);\n"
        )


def _ddl_type(kind: Column) -> str:
    if isinstance(kind, list):
        return f"array<{_ddl_type(kind[0])}>"
    if isinstance(kind, Mapping):
        return f"struct<{','.join(f'{name}:{_ddl_type(member)}' for name, member in kind.items())}>"
    return str(kind)


@dataclass(frozen=True, slots=True)
class Place:
    """Where values are: ``sql`` is text (varchar), or with ``many`` an array of texts."""

    sql: str
    many: bool = False

    def as_array(self) -> str:
        """Return an array of texts, whichever it is."""
        return self.sql if self.many else f"ARRAY[{self.sql}]"


def column_of(schema: Schema, path: str) -> Place:
    """Return where a document's field is in the table.

    Raises:
        UnsaidError: the loader makes it; CloudTrail's files do not have it.
    """
    name = sigma_names(schema.source).get(path)
    place = _member(name.lower().split(".")) if name else None
    if place is None:
        raise UnsaidError(f"{path} is made by the loader; CloudTrail's files do not hold it")
    return place


def stored_column(schema: Schema, path: str) -> Place:
    """Return where a path of ``_source`` (a group-by, a count, a suppression) is in the table, letters as written.

    Raises:
        UnsaidError: the files do not have it.
    """
    payloads = schema.source.payloads
    if payloads and path.startswith(payloads.stored + "."):
        root, _, rest = path[len(payloads.stored) + 1 :].partition(".")
        for name in PAYLOADS.values():
            if snake(name) == root and rest:
                return json_column(name.lower(), rest.split("."), lowered=False)
        raise UnsaidError(f"{path} is in no column of the table")
    return column_of(schema, path)


def leaf_column(path: str, *, lowered: bool) -> Place:
    """Return where a payload's leaf is (``requestParameters.userName``); with ``lowered`` all letters are lower case.

    Raises:
        UnsaidError: the payload is no column.
    """
    root, _, rest = path.partition(".")
    if root.lower() in PAYLOADS:
        return json_column(root.lower(), rest.split(".") if rest else [], lowered=lowered)
    place = _member(path.lower().split("."))
    if place is None:
        raise UnsaidError(f"{path} is in no column of the table")
    return Place(f"lower({place.sql})") if lowered else place


def json_column(column: str, keys: list[str], *, lowered: bool) -> Place:
    """Return the scalars at a path of a JSON column, through arrays, as texts."""
    text = f"lower({column})" if lowered else column
    found = f"json_query({text}, '{json_path(keys, lowered=lowered)}[*]' WITH ARRAY WRAPPER)"
    return Place(f"transform(CAST(json_parse({found}) AS ARRAY(JSON)), j -> json_extract_scalar(j, '$'))", many=True)


def json_path(keys: list[str], *, lowered: bool) -> str:
    """Return an SQL/JSON path in lax mode (arrays are walked through), fit for an SQL literal.

    Raises:
        UnsaidError: a key has characters that no path takes safely.
    """
    for key in keys:
        if re.search(r"[\"\\\x00-\x1f]", key):
            raise UnsaidError(f"the payload's key {key!r} cannot be written in a JSON path")
    members = "".join(f'."{key.lower() if lowered else key}"' for key in keys)
    return f"lax ${members}".replace("'", "''")


def _member(parts: list[str]) -> Place | None:
    kind: Column = COLUMNS
    for number, part in enumerate(parts):
        if isinstance(kind, list):
            if len(parts) == number + 1 and kind[0].get(part) == _TEXT:
                return Place(f"transform({'.'.join(parts[:number])}, r -> r.{part})", many=True)
            return None
        if not isinstance(kind, Mapping) or part not in kind:
            return None
        kind = kind[part]
    return Place(".".join(parts)) if kind == _TEXT else None
