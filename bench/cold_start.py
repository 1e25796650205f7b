"""Cold start of the Lambda handlers: import, wiring and the first work, each in a new process.

    python bench/cold_start.py [--rounds 5] [--json]

The first message is an s3:TestEvent, so no cluster and no AWS is needed: what is measured is this code and its imports.
Of the function for detection, reading and compiling all rules is measured.
Figures are medians in milliseconds, beside those of an interpreter that imports boto3 alone, in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

_HANDLER = """
import time; start = time.perf_counter()
from loader.entrypoints.lambda_handler import handler
imported = time.perf_counter()
class Context:
    def get_remaining_time_in_millis(self): return 60000
answer = handler({"Records": [{"messageId": "1", "body": '{"Event": "s3:TestEvent"}'}]}, Context())
assert answer == {"batchItemFailures": []}, answer
first = time.perf_counter()
handler({"Records": [{"messageId": "1", "body": '{"Event": "s3:TestEvent"}'}]}, Context())
print((imported - start) * 1e3, (first - imported) * 1e3, (time.perf_counter() - first) * 1e3)
"""
_DETECTION = """
import time; start = time.perf_counter()
from loader.entrypoints.detection_handler import _detector
imported = time.perf_counter()
detector = _detector()
wired = time.perf_counter()
assert len(detector.read().alerting) > 100
print((imported - start) * 1e3, (wired - imported) * 1e3, (time.perf_counter() - wired) * 1e3)
"""
_FLOOR = """
import time; start = time.perf_counter()
import boto3; boto3.client('s3', region_name='us-east-1')
print((time.perf_counter() - start) * 1e3)
"""
_ENVIRONMENT = {
    "SIEM_CLUSTER_URL": "http://127.0.0.1:9",
    "SIEM_AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
}


def run(code: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_ENVIRONMENT)
    return [float(part) for part in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="new processes of each kind (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    ours, detection, floors = [], [], []
    for _ in range(arguments.rounds):
        ours.append(run(_HANDLER))
        detection.append(run(_DETECTION))
        floors.append(run(_FLOOR)[0])
    imported, first, warm = (statistics.median(column) for column in zip(*ours, strict=True))
    floor = statistics.median(floors)
    detection_imported, wired, rules = (statistics.median(column) for column in zip(*detection, strict=True))
    figures = {
        "import_ms": round(imported, 1),
        "first_message_ms": round(first, 1),
        "warm_message_ms": round(warm, 2),
        "detection_import_ms": round(detection_imported, 1),
        "detection_wiring_ms": round(wired, 1),
        "detection_rules_ms": round(rules, 1),
        "boto3_client_ms": round(floor, 1),
        "ratio_to_boto3_client": round((imported + first) / floor, 2),
        "detection_ratio_to_boto3_client": round((detection_imported + wired + rules) / floor, 2),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:34}{value:>10}")


if __name__ == "__main__":
    main()
