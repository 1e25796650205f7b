"""A user agent → its name, version and operating system, by a table of the agents that call AWS.

Not a general browser parser: it knows what is seen in AWS logs, and says nothing where it is not sure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: Longer ones are not parsed: a caller may send anything, and nothing of use comes that late.
_LONGEST: Final = 2048

_VERSION: Final = r"[/ ]v?(\d[\w.+-]*)"
#: Ours → what the agent's text holds. The first that is found wins, so the more telling ones come first.
_AGENTS: Final = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("Terraform", rf"\bTerraform(?:{_VERSION})?"),
        ("OpenTofu", rf"\bOpenTofu(?:{_VERSION})?"),
        ("Pulumi", rf"(?i:\bpulumi)[\w-]*(?:{_VERSION})?"),
        ("aws-cdk", rf"\baws-cdk(?:-[\w-]+)?(?:{_VERSION})?"),
        ("aws-sam-cli", rf"\baws-sam-cli(?:{_VERSION})?"),
        ("aws-cli", rf"\baws-cli{_VERSION}"),
        ("AWS Tools for PowerShell", rf"\bAWSPowerShell[\w.]*(?:{_VERSION})?"),
        ("S3 Console", rf"\bS3Console(?:{_VERSION})?"),
        ("AWS Console Mobile", rf"\bAWS(?:Console|-Console)-?(?:Mobile|iOS|Android)[\w-]*(?:{_VERSION})?"),
        ("AWS Console", rf"\b(?:console\.amazonaws\.com|aws-console|[A-Z][\w ]{{0,40}} Console)\b(?:{_VERSION})?"),
        ("amazon-ssm-agent", rf"\bamazon-ssm-agent(?:{_VERSION})?"),
        ("aws-fluent-bit-plugin", rf"\baws-fluent-bit-plugin(?:{_VERSION})?"),
        ("eksctl", rf"\beksctl(?:{_VERSION})?"),
        ("kubectl", rf"\bkubectl{_VERSION}"),
        ("aws-iam-authenticator", rf"\baws-iam-authenticator(?:{_VERSION})?"),
        ("karpenter", rf"\bkarpenter[\w.-]*(?:{_VERSION})?"),
        ("cluster-autoscaler", rf"\bcluster-autoscaler(?:{_VERSION})?"),
        ("Boto3", rf"\bBoto3{_VERSION}"),
        ("Boto", rf"\bBoto{_VERSION}"),
        ("aws-sdk-go-v2", rf"\baws-sdk-go-v2{_VERSION}"),
        ("aws-sdk-go", rf"\baws-sdk-go{_VERSION}"),
        ("aws-sdk-java", rf"\baws-sdk-java{_VERSION}"),
        ("aws-sdk-js", rf"\b(?:aws-sdk-js|aws-sdk-nodejs){_VERSION}"),
        ("aws-sdk-rust", rf"\baws-sdk-rust{_VERSION}"),
        ("aws-sdk-ruby", rf"\baws-sdk-ruby\d*{_VERSION}"),
        ("aws-sdk-php", rf"\baws-sdk-php\d*{_VERSION}"),
        ("aws-sdk-dotnet", rf"\b(?i:aws-sdk-(?:dotnet|net)\w*|aws-sdk-unity)[\w-]*{_VERSION}"),
        ("aws-sdk-kotlin", rf"\baws-sdk-kotlin{_VERSION}"),
        ("aws-sdk-swift", rf"\baws-sdk-swift{_VERSION}"),
        ("aws-sdk-cpp", rf"\baws-sdk-cpp{_VERSION}"),
        ("aws-sdk-iOS", rf"\baws-sdk-iOS{_VERSION}"),
        ("aws-sdk-android", rf"\baws-sdk-android{_VERSION}"),
        ("Botocore", rf"\b[Bb]otocore{_VERSION}"),
        ("stratus-red-team", r"\bstratus-red-team()"),
        ("Pacu", rf"(?i:\bpacu)\b(?:{_VERSION})?"),
        ("Edge", r"\bEdg(?:e|A|iOS)?/([\d.]+)"),
        ("Opera", r"\bOPR/([\d.]+)"),
        ("Firefox", r"\b(?:Firefox|FxiOS)/([\d.]+)"),
        ("Chrome", r"\b(?:Headless)?(?:Chrome|CriOS)/([\d.]+)"),
        ("Safari", r"\bVersion/([\d.]+).* Safari/"),
        ("ec2-api-tools", rf"\bec2-api-tools{_VERSION}"),
        ("curl", rf"\bcurl{_VERSION}"),
        ("python-requests", rf"\bpython-requests{_VERSION}"),
        ("aws-internal", r"\baws-internal/?(\d[\w.]*)?"),
    )
)
_SERVICE: Final = re.compile(
    r"[a-z0-9.-]+\.(?:amazonaws\.(?:com(?:\.cn)?|cn|eu)|aws\.internal|amazon\.com)|AWS Internal"
)
_PRODUCT: Final = re.compile(r"\[?([A-Za-z][\w.+-]{0,63})/v?(\d[\w.+-]{0,63})")

#: Ours → where the version may stand.
_SYSTEMS: Final = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("Windows", r"Windows NT ([\d.]+)|(?i:windows)(?:[#/ _]?(?:server[#/ _-]?)?v?(\d[\w.]*))?"),
        ("iOS", r"(?:iPhone|iPad|CPU).* OS ([\d_]+) like Mac|\biOS[/ ](\d[\w.]*)"),
        ("macOS", r"Mac OS X ([\d_.]+)|\b(?:os/(?:macos|darwin)|macos|Mac OS X|Darwin)(?:[#/ ](\d[\w.]*))?"),
        ("Android", r"\bAndroid(?:[/ ]([\d.]+))?"),
        ("Linux", r"(?i:\blinux)(?:[#/](\d[\w.+-]*))?"),
    )
)
_DEVICE: Final = re.compile(r"\b(iPhone|iPad)\b")


@dataclass(frozen=True, slots=True)
class Agent:
    """What a user agent says of itself; ``None`` for what it does not say. ``os_full`` is name and version."""

    name: str | None = None
    version: str | None = None
    os_name: str | None = None
    os_version: str | None = None
    os_full: str | None = None
    device: str | None = None


_NOTHING: Final = Agent()


def parse_user_agent(text: str) -> Agent:
    """Return what ``text`` says. Texts longer than 2,048 characters are not looked at."""
    return _parse(text) if len(text) <= _LONGEST else _NOTHING


def _parse(text: str) -> Agent:
    if _SERVICE.fullmatch(text):
        return Agent(name=text)
    name, version = _name_and_version(text)
    system = release = None
    if name is not None:
        for candidate, pattern in _SYSTEMS:
            if match := pattern.search(text):
                system = candidate
                release = next((group for group in match.groups() if group), None)
                break
    if release:
        release = release.replace("_", ".").rstrip(".-")
    full = f"{system} {release}" if system and release else system
    device = _DEVICE.search(text)
    return Agent(name, version, system, release, full, device.group(1) if device else None)


def _name_and_version(text: str) -> tuple[str | None, str | None]:
    for name, pattern in _AGENTS:
        if match := pattern.search(text):
            version = match.group(1)
            return name, version.rstrip(".-+") if version else None
    match = _PRODUCT.match(text)
    return (match.group(1), match.group(2).rstrip(".-+")) if match else (None, None)
