"""Refusals of S3 and their names. S3 itself cannot run here: botocore's stubber answers with the errors AWS documents;
what moto's server can do is tested against it (tests/integration/test_parked_objects.py)."""

from __future__ import annotations

import io
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from loader.source.fetch import TransientSourceError, s3_fetch
from loader.source.objects import FetchError, ObjectRef


@pytest.fixture
def s3() -> Any:
    return boto3.client("s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")


def body(content: bytes) -> dict[str, Any]:
    return {"Body": StreamingBody(io.BytesIO(content), len(content)), "ContentLength": len(content)}


@pytest.mark.parametrize(
    ("ref", "asked"),
    [
        (ObjectRef("b", "k"), {"Bucket": "b", "Key": "k"}),
        (ObjectRef("b", "k", version_id="v"), {"Bucket": "b", "Key": "k", "VersionId": "v"}),
        (ObjectRef("b", "k", etag="e"), {"Bucket": "b", "Key": "k", "IfMatch": '"e"'}),
        (
            ObjectRef("b", "k", version_id="null", etag="e-2"),
            {"Bucket": "b", "Key": "k", "VersionId": "null", "IfMatch": '"e-2"'},
        ),
    ],
)
def test_the_version_and_the_etag_of_the_notification_are_asked_for(
    s3: Any, ref: ObjectRef, asked: dict[str, str]
) -> None:
    with Stubber(s3) as stub:
        stub.add_response("get_object", body(b"content"), asked)
        assert b"".join(s3_fetch(s3)(ref)) == b"content"
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, "missing"),
        ("NoSuchVersion", 404, "missing"),
        ("NoSuchBucket", 404, "missing"),
        ("AccessDenied", 403, "forbidden"),
        ("AllAccessDisabled", 403, "forbidden"),
        ("KMS.DisabledException", 400, "forbidden"),
        ("KMS.KMSInvalidStateException", 400, "forbidden"),
        ("KMS.NotFoundException", 400, "forbidden"),
        ("InvalidObjectState", 403, "archived"),
        ("PreconditionFailed", 412, "replaced"),
    ],
)
def test_what_a_person_has_to_cure_has_a_name_and_a_next_step(s3: Any, code: str, status: int, kind: str) -> None:
    with Stubber(s3) as stub:
        stub.add_client_error("get_object", code, http_status_code=status)
        with pytest.raises(FetchError) as caught:
            list(s3_fetch(s3)(ObjectRef("b", "k")))
    assert not isinstance(caught.value, TransientSourceError)
    assert (caught.value.kind, caught.value.where) == (kind, "s3://b/k")
    assert caught.value.hint


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "503", "RequestTimeout", "ExpiredToken", ""])
def test_what_time_cures_goes_back_to_the_queue(s3: Any, code: str) -> None:
    with Stubber(s3) as stub:
        stub.add_client_error("get_object", code, http_status_code=503)
        with pytest.raises(TransientSourceError):
            list(s3_fetch(s3)(ObjectRef("b", "k")))


def test_a_body_that_ends_early_is_no_shorter_object(s3: Any) -> None:
    with Stubber(s3) as stub:
        stub.add_response("get_object", {**body(b"half"), "ContentLength": 8})
        with pytest.raises(TransientSourceError, match="4 of 8"):
            list(s3_fetch(s3)(ObjectRef("b", "k")))
