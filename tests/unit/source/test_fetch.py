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
        ("KMS.AccessDeniedException", 400, "forbidden"),
        ("Forbidden", 403, "forbidden"),
        ("", 403, "forbidden"),
        ("NotFound", 404, "missing"),
        ("", 404, "missing"),
        ("MethodNotAllowed", 405, "missing"),
        ("KeyTooLongError", 400, "refused"),
        ("InvalidArgument", 400, "refused"),
        ("InvalidRequest", 400, "refused"),
        ("InvalidBucketName", 400, "refused"),
        ("PermanentRedirect", 301, "refused"),
        ("AuthorizationHeaderMalformed", 400, "refused"),
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


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SlowDown", 503),
        ("InternalError", 500),
        ("503", 503),
        ("", 503),
        ("RequestTimeout", 400),
        ("OperationAborted", 409),
        ("TooManyRequests", 429),
        ("KMS.ThrottlingException", 400),
        ("KMS.KMSInternalException", 400),
        ("KMS.DependencyTimeoutException", 400),
        ("KMS.KeyUnavailableException", 400),
        ("KMS.LimitExceededException", 400),
        ("ExpiredToken", 400),
        ("InvalidAccessKeyId", 403),
        ("SignatureDoesNotMatch", 403),
        ("RequestTimeTooSkewed", 403),
    ],
)
def test_what_time_or_better_credentials_cure_goes_back_to_the_queue(s3: Any, code: str, status: int) -> None:
    with Stubber(s3) as stub:
        stub.add_client_error("get_object", code, http_status_code=status)
        with pytest.raises(TransientSourceError):
            list(s3_fetch(s3)(ObjectRef("b", "k")))


def test_a_body_that_ends_early_is_no_shorter_object(s3: Any) -> None:
    with Stubber(s3) as stub:
        stub.add_response("get_object", {**body(b"half"), "ContentLength": 8})
        with pytest.raises(TransientSourceError, match="4 of 8"):
            list(s3_fetch(s3)(ObjectRef("b", "k")))


@pytest.mark.parametrize("ref", [ObjectRef("No Such!", "k"), ObjectRef("b", "")])
def test_what_cannot_even_be_asked_for_is_refused(s3: Any, ref: ObjectRef) -> None:
    with pytest.raises(FetchError) as caught:
        list(s3_fetch(s3)(ref))
    assert (caught.value.kind, bool(caught.value.hint)) == ("refused", True)
