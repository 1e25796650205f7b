"""Which log type an object's key belongs to, or the named rule by which it is not loaded. Pure."""

from __future__ import annotations

import re

from loader.logtypes.cloudtrail import CLOUDTRAIL
from loader.logtypes.model import LogType
from loader.source.objects import LOG_GROUP, ObjectRef

# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
_SERVICE = re.compile(r"(?:^|/)AWSLogs/(?:o-[a-z0-9]+/)?\d{12}/([^/]+)/")
#: What says the same where the folders of the trail are lost: a folder's name, or the beginning of a file's.
#: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
_KIND = re.compile(r"(?:^|/)(?:\d{12}_(CloudTrail-[A-Za-z]+)_[^/]*$|(CloudTrail-[A-Za-z]+)(?=/))")
#: CloudTrail's own folders that hold no records of events.
_NO_EVENTS = {"CloudTrail-Digest": "digest", "CloudTrail-Aggregated": "aggregated"}


def is_trail_delivery(ref: ObjectRef) -> bool:
    """Tell whether CloudTrail itself wrote the object: then it is one gzip member, and anything after it is suspect."""
    match = _SERVICE.search(ref.key)
    return match is not None and match.group(1).startswith("CloudTrail")


def route(ref: ObjectRef) -> LogType | str:
    """Return the log type of an object by its key, or the name of the rule that skips it.

    Skipped are ``digest`` (CloudTrail's digest files: the validator reads those), ``aggregated`` (CloudTrail's
    five-minute summaries of data events: they have a time window, counts and no actor, and the events that they sum
    up may be delivered besides), ``other_log_type`` (another AWS service's logs below ``AWSLogs/``) and ``folder`` (a
    key that ends with a slash). A key outside ``AWSLogs/`` is taken for CloudTrail, unless a folder or CloudTrail's own
    file name says otherwise: people copy log files anywhere. What a subscription of CloudWatch Logs sends has no key,
    only names that the owner of the log group chose.

    Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-aggregated-events.html
    """
    if ref.bucket.startswith(LOG_GROUP):
        return CLOUDTRAIL
    key = ref.key
    if key.endswith("/"):
        return "folder"
    match = _SERVICE.search(key)
    if match is None:
        kinds = (in_name or folder for in_name, folder in _KIND.findall(key))
        return next((_NO_EVENTS[kind] for kind in kinds if kind in _NO_EVENTS), CLOUDTRAIL)
    service = match.group(1)
    if service in _NO_EVENTS:
        return _NO_EVENTS[service]
    return CLOUDTRAIL if service.startswith("CloudTrail") else "other_log_type"
