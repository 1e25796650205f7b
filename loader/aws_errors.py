"""What boto3 raises → errors of this project: what is wrong with the settings here, or what AWS answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from loader.errors import ConfigError, SiemError

_REGION: Final = "Set SIEM_AWS_REGION, for instance to eu-central-1."
_LOG_IN: Final = (
    "Log in (aws sso login), or let AWS_PROFILE name a profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)
_FILE: Final = "Correct ~/.aws/config or ~/.aws/credentials (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE)."
_NETWORK: Final = "Is the network there, SIEM_AWS_REGION right, and SIEM_AWS_ENDPOINT_URL, if it is set?"
#: What is wrong on this side, by the name of an error's class or of one that it derives from: botocore's older releases
#: do not have all of them. https://github.com/boto/botocore/blob/develop/botocore/exceptions.py
_CONFIGURATION: Final = {
    "NoRegionError": _REGION,
    "InvalidRegionError": _REGION,
    "UnknownRegionError": _REGION,
    "NoCredentialsError": _LOG_IN,
    "PartialCredentialsError": _LOG_IN,
    "CredentialRetrievalError": _LOG_IN,
    "UnknownCredentialError": _LOG_IN,
    "RefreshWithMFAUnsupportedError": _LOG_IN,
    "NoAuthTokenError": _LOG_IN,
    "TokenRetrievalError": _LOG_IN,
    "SSOError": _LOG_IN,
    "LoginError": _LOG_IN,
    "MissingDependencyException": _LOG_IN,
    "ProfileNotFound": "AWS_PROFILE names it. Which there are says: aws configure list-profiles.",
    "ConfigParseError": _FILE,
    "ConfigNotFound": _FILE,
    "InvalidConfigError": _FILE,
    "InvalidRetryConfigurationError": _FILE,
    "InvalidDefaultsMode": _FILE,
}
_CONNECTION: Final = frozenset({"ConnectionError", "HTTPClientError"})
#: What AWS answers to credentials that it does not take.
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
_CODES: Final = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"), _LOG_IN),
    **dict.fromkeys(("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"), _LOG_IN),
    **dict.fromkeys(("InvalidToken", "SignatureDoesNotMatch", "IncompleteSignature"), _LOG_IN),
    "RequestTimeTooSkewed": "Set this machine's clock.",
}


def configuration_error(error: Exception, *, where: str | None = None) -> ConfigError | None:
    """Return ``error`` as what is wrong with credentials, Region or profile here; ``None`` if it is something else."""
    names = _names(error)
    hint = next((_CONFIGURATION[name] for name in names if name in _CONFIGURATION), None)
    return ConfigError(_text(error), where=where, hint=hint) if hint else None


def aws_error(error: BotoCoreError | ClientError, *, where: str | None = None, hint: str | None = None) -> SiemError:
    """Return ``error`` as an error of this project: what AWS answered, or why it could not be asked.

    ``hint`` is the next step where nothing better is known.
    """
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        code, text = code_of(error), str(said.get("Message") or "").strip()
        message = f"AWS answers {code}" + (f": {text}" if text and text != code else "")
        return SiemError(message, where=where, hint=_CODES.get(code, hint))
    wrong_here = configuration_error(error, where=where)
    if wrong_here is not None:
        return wrong_here
    return SiemError(_text(error), where=where, hint=_NETWORK if _CONNECTION & set(_names(error)) else hint)


def code_of(error: ClientError) -> str:
    """Return the code of AWS's answer. SQS puts its own name before it."""
    code = str(error.response.get("Error", {}).get("Code") or "an error")
    return code.removeprefix("AWS.SimpleQueueService.")


@contextmanager
def making_client(service: str) -> Iterator[None]:
    """Make a boto3 client of ``service`` in this block.

    Raises:
        ConfigError: profile, Region or endpoint are none that one could be made with.
    """
    try:
        yield
    except (BotoCoreError, ValueError) as error:  # a ValueError speaks of the endpoint's URL
        where = f"AWS ({service})"
        known = configuration_error(error, where=where)
        raise known or ConfigError(
            _text(error), where=where, hint="Look at SIEM_AWS_REGION and SIEM_AWS_ENDPOINT_URL."
        ) from None


def _names(error: Exception) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__] if isinstance(error, BotoCoreError) else []


def _text(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
