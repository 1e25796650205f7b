"""A queue that cannot be used: told before work begins, and where it ends."""

from __future__ import annotations

from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError

from loader.aws_errors import aws_error, code_of
from loader.errors import ConfigError, SiemError

#: There is no such queue, or the URL is none.
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
_NO_QUEUE: Final = frozenset({"NonExistentQueue", "QueueDoesNotExist", "InvalidAddress"})
_HINT: Final = "Give the whole URL, of a queue in SIEM_AWS_REGION. Which there are says: aws sqs list-queues."


def queue_error(error: BotoCoreError | ClientError, queue_url: str) -> SiemError:
    """Return why a queue could not be used: a :class:`ConfigError` if only another setting cures it."""
    if isinstance(error, ClientError) and code_of(error) in _NO_QUEUE:
        return ConfigError(f"there is no such queue (SQS answers {code_of(error)})", where=queue_url, hint=_HINT)
    return aws_error(error, where=queue_url, hint=_HINT)


def check_queue(sqs: Any, queue_url: str) -> None:
    """Ask once for a queue that is to be consumed. ``sqs`` is a boto3 client.

    Whatever time or a permission may cure is passed over: a worker that runs tries again by itself.

    Raises:
        ConfigError: there is no such queue, or no credentials to ask with.
    """
    try:
        sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    except CredentialRetrievalError:  # whatever hands them out may be late
        return
    except (BotoCoreError, ClientError) as error:
        told = queue_error(error, queue_url)
        if isinstance(told, ConfigError):
            raise told from None
