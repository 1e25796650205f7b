"""What exceptions (Sigma Filters) and suppression take away is counted: by exception, in correlations, too."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from detection_events import START, SettableClock, alerts, event, put
from opensearchpy import OpenSearch

from loader.detection.compile import compile_rules
from loader.detection.load import load_rules
from loader.detection.run import run_once

pytestmark = pytest.mark.integration

RULES = """\
title: a key is made
id: 0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f40
name: made
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName: CreateAccessKey}, condition: s}
level: low
siem: {suppress: {by: [awsRegion], for: 1h}}
---
title: keys for many
id: 0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f41
name: many
correlation:
  {type: event_count, rules: [made], group-by: [awsRegion], timespan: 10m, condition: {gte: 3}, generate: true}
level: low
---
title: the build account
id: 0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f42
name: build
logsource: {product: aws, service: cloudtrail}
filter: {rules: [made], build: {sourceIPAddress: 203.0.113.1}, condition: not build}
---
title: the backup region
id: 0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f43
name: backup
logsource: {product: aws, service: cloudtrail}
filter: {rules: [made], backup: {awsRegion|re: '(?=us)us-.*'}, condition: not backup}
"""


def test_what_is_taken_out_is_counted_by_exception(templates: OpenSearch, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    pack = compile_rules(load_rules([tmp_path]))
    assert pack.errors == ()
    events = {f"kept-{n}": event(n, "CreateAccessKey") for n in range(2)}
    events |= {f"build-{n}": event(n, "CreateAccessKey", source__address="203.0.113.1") for n in range(3)}
    events |= {"backup": event(9, "CreateAccessKey", cloud__region="us-east-1")}
    events |= {"both": event(9, "CreateAccessKey", cloud__region="us-east-1", source__address="203.0.113.1")}
    events |= {"other": event(9, "DeleteAccessKey", source__address="203.0.113.1")}
    put(templates, events)
    clock = SettableClock(START + timedelta(hours=1))
    report = run_once(templates, pack.alerting, clock=clock)
    assert report.errors == {}
    names = {one.title: one.name for one in pack.filters}
    build, backup = names["the build account"], names["the backup region"]
    assert list(report.filtered_by.values()) == [{build: 4, backup: 2}, {build: 4, backup: 2}]
    # The rule for itself, and as what the correlation counts.
    assert [count.filtered for count in report.rules] == [5, 5]
    (alert,) = alerts(templates).values()
    assert alert["siem"]["count"] == 2
    assert report.folded == 1, "the second event is in the first one's alert"
    again = run_once(templates, pack.alerting, clock=clock)
    assert (again.filtered, again.folded) == (0, 0), "nothing is counted twice"
