"""What a key says about its object: CloudTrail's records, or the name of the rule that skips it."""

from __future__ import annotations

import pytest

from loader.ingest.route import route
from loader.source.objects import ObjectRef

DAY = "us-east-1/2026/11/01"
NAME = "123456789012_CloudTrail_us-east-1_20261101T1000Z_7xgocspSowgK0Gto.json.gz"
DIGEST = "123456789012_CloudTrail-Digest_us-east-1_trail_us-east-1_20261101T100000Z.json.gz"
AGGREGATED = "123456789012_CloudTrail-Aggregated_us-east-1_20261101T1000Z_7xgocspSowgK0Gto.json.gz"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"AWSLogs/123456789012/CloudTrail/{DAY}/{NAME}", "aws-cloudtrail"),
        (f"AWSLogs/123456789012/CloudTrail-Insight/{DAY}/x.json.gz", "aws-cloudtrail"),
        (f"trail/AWSLogs/o-ab12/123456789012/CloudTrail-NetworkActivity/{DAY}/x.json.gz", "aws-cloudtrail"),
        (f"AWSLogs/123456789012/CloudTrail-Digest/{DAY}/{DIGEST}", "digest"),
        (f"AWSLogs/123456789012/CloudTrail-Aggregated/{DAY}/x.json.gz", "aggregated"),
        (f"trail/AWSLogs/o-ab12/123456789012/CloudTrail-Aggregated/{DAY}/x.json.gz", "aggregated"),
        (f"AWSLogs/123456789012/vpcflowlogs/{DAY}/x.log.gz", "other_log_type"),
        (f"AWSLogs/123456789012/CloudTrail/{DAY}/", "folder"),
        # Copied without their folders, or with some of them.
        (NAME, "aws-cloudtrail"),
        (f"/home/analyst/case/{NAME}", "aws-cloudtrail"),
        (DIGEST, "digest"),
        (f"/home/analyst/case/{DIGEST}", "digest"),
        (f"/home/analyst/case/{DIGEST.replace('.json.gz', '_backfill.json.gz')}", "digest"),
        (f"/home/analyst/case/{DIGEST.replace('.json.gz', '.json')}", "digest"),
        (f"/home/analyst/case/{AGGREGATED}", "aggregated"),
        (f"CloudTrail-Digest/{DAY}/x.json.gz", "digest"),
        (f"/copy/CloudTrail-Digest/{DAY}/x.json.gz", "digest"),
        (f"/copy/CloudTrail-Aggregated/{DAY}/x.json.gz", "aggregated"),
        # What only mentions them is loaded.
        (f"/CloudTrail-Digests/{NAME}", "aws-cloudtrail"),
        ("/case/about_CloudTrail-Digest_us-east-1.json", "aws-cloudtrail"),
        (f"/case/{DIGEST}/records.json", "aws-cloudtrail"),
        # Below AWSLogs/ the folder decides: CloudTrail writes it.
        (f"/CloudTrail-Digest/AWSLogs/123456789012/CloudTrail/{DAY}/{NAME}", "aws-cloudtrail"),
    ],
)
def test_a_key_says_what_it_holds(key: str, expected: str) -> None:
    found = route(ObjectRef("trail", key))
    assert (found if isinstance(found, str) else found.name) == expected


def test_the_names_in_a_log_group_say_nothing() -> None:
    found = route(ObjectRef("cloudwatch-logs:CloudTrail/DefaultLogGroup", "CloudTrail-Digest/2026/11/01/event-0"))
    assert not isinstance(found, str)
