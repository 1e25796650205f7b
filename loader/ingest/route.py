"""Which log type an object's key belongs to, or the named rule by which it is not loaded. Pure."""

from __future__ import annotations

import re

from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import LogType
from loader.source.objects import LOG_GROUP, ObjectRef

# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
_SERVICE = re.compile(r"(?:^|/)AWSLogs/(?:o-[a-z0-9]+/)?\d{12}/([^/]+)/")


def is_trail_delivery(ref: ObjectRef) -> bool:
    """Tell whether CloudTrail itself wrote the object: then it is one gzip member, and anything after it is suspect."""
    match = _SERVICE.search(ref.key)
    return match is not None and match.group(1).startswith("CloudTrail")


def route(ref: ObjectRef) -> LogType | str:
    """Return the log type of an object by its key, or the name of the rule that skips it.

    Skipped are ``digest`` (CloudTrail's digest files: the validator reads those), ``other_log_type`` (another AWS
    service's logs below ``AWSLogs/``) and ``folder`` (a key that ends with a slash). A key outside ``AWSLogs/`` is
    taken for CloudTrail: people copy log files anywhere. What a subscription of CloudWatch Logs sends has no key, only
    names that the owner of the log group chose.
    """
    if ref.bucket.startswith(LOG_GROUP):
        return CLOUDTRAIL
    key = ref.key
    if key.endswith("/"):
        return "folder"
    match = _SERVICE.search(key)
    if match is None:
        return "digest" if "/CloudTrail-Digest/" in key else CLOUDTRAIL
    service = match.group(1)
    if service == "CloudTrail-Digest":
        return "digest"
    return CLOUDTRAIL if service.startswith("CloudTrail") else "other_log_type"
