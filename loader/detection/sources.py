"""Which logs a rule is about: Sigma's ``logsource`` → index pattern, field types, field map and payloads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loader.detection.model import LogSource
from loader.project import mappings_dir


@dataclass(frozen=True, slots=True)
class Payloads:
    """How a log type's free-form payloads are searched (docs/adr/0002).

    ``field`` is the array of ``path=value`` leaves. ``roots`` are the path prefixes a rule may name: anything else that
    is not in the field map is a mistake. ``stored`` is the object in ``_source`` that holds the payloads as they came.
    """

    field: str
    stored: str
    roots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """One log type as detection sees it.

    ``template`` is the index template's file under ``mappings/index`` and gives the field types; ``pipeline`` the Sigma
    processing pipeline under ``mappings/sigma``. ``addresses`` maps a text field of addresses to its twin of type ip.
    """

    name: str
    product: str
    service: str
    index: str
    template: str
    pipeline: str
    payloads: Payloads | None = None
    addresses: tuple[tuple[str, str], ...] = ()

    @property
    def pipeline_path(self) -> Path:
        """Return the pipeline's file."""
        return mappings_dir() / "sigma" / self.pipeline


AWS_CLOUDTRAIL = Source(
    name="aws-cloudtrail",
    product="aws",
    service="cloudtrail",
    index="log-aws-cloudtrail-*",
    template="log-aws-cloudtrail",
    pipeline="aws_cloudtrail.yml",
    payloads=Payloads(
        field="aws.cloudtrail.leaves",
        stored="aws.cloudtrail.flattened",
        roots=(
            "requestParameters",
            "responseElements",
            "additionalEventData",
            "serviceEventDetails",
            "insightDetails",
            "eventContext",
            "edgeDeviceDetails",
            "tlsDetails.tlsVersion",
            "userIdentity.sessionContext.webIdFederationData.attributes",
        ),
    ),
    addresses=(("source.address", "source.ip"),),
)

SOURCES: tuple[Source, ...] = (AWS_CLOUDTRAIL,)


def source_for(logsource: LogSource) -> Source | None:
    """Return the log type a rule's logsource names, or ``None`` when this SIEM has no such logs.

    A logsource that names a category is about another product's model of events, and one without a service about all of
    the product's logs: both are left to the day a log type declares them.
    """
    if logsource.category:
        return None
    for source in SOURCES:
        if (source.product, source.service) == (logsource.product, logsource.service):
            return source
    return None
