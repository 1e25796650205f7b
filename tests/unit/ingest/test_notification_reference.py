"""Notifications as others recorded them, read where they are. Some are golden pairs as well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loader.ingest.notification import parse_notification

pytestmark = pytest.mark.reference_data

PROMTAIL = "lambda-promtail/testdata"


def test_keys_of_recorded_s3_events_are_decoded_once(reference_data: Path) -> None:
    for name in ("s3-event.json", "s3-event-generated-tags.json"):
        text = (reference_data / PROMTAIL / "events" / name).read_text(encoding="utf-8")
        for body in (text, json.dumps({"Type": "Notification", "TopicArn": "t", "Message": text})):
            (ref,) = parse_notification(body).objects
            entry = json.loads(text)["Records"][0]["s3"]
            assert ref.bucket == entry["bucket"]["name"]
            assert ref.key == entry["object"]["key"].replace("%20", " ").replace("+", " ").replace("%2B", "+")
            assert (ref.size, ref.etag) == (entry["object"].get("size"), entry["object"].get("eTag"))


def test_what_is_no_notification_is_never_taken_for_one(reference_data: Path) -> None:
    for path in sorted((reference_data / "cloud-custodian" / "tests" / "data" / "cwe").glob("*.json")):
        found = parse_notification(path.read_text(encoding="utf-8"))
        assert found.objects == [], path.name
        assert found.trouble or found.skipped, path.name
