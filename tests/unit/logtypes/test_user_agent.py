"""What user agents say of themselves, by agents as AWS logs have them."""

from __future__ import annotations

import pytest

from loader.logtypes.user_agent import Agent, parse_user_agent

CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36"


@pytest.mark.parametrize(
    ("text", "name", "version", "system", "release"),
    [
        (
            "aws-cli/2.15.40 Python/3.11.8 Linux/6.1.84 exe/x86_64.amzn.2023 command/iam.create-user",
            *("aws-cli", "2.15.40", "Linux", "6.1.84"),
        ),
        (
            "aws-cli/1.32.1 md/Botocore#1.34.1 ua/2.0 os/windows#10 md/arch#amd64",
            *("aws-cli", "1.32.1", "Windows", "10"),
        ),
        ("aws-cli/2.17.0 md/awscrt#0.20.11 ua/2.0 os/macos#23.5.0", "aws-cli", "2.17.0", "macOS", "23.5.0"),
        ("[aws-cli/1.11.78 Python/2.7.13 Windows/8 botocore/1.5.41]", "aws-cli", "1.11.78", "Windows", "8"),
        ("Boto3/1.26.165 Python/3.9.16 Linux/5.10.178 Botocore/1.29.165", "Boto3", "1.26.165", "Linux", "5.10.178"),
        ("aws-sdk-go/1.44.298 (go1.20.5; linux; amd64)", "aws-sdk-go", "1.44.298", "Linux", None),
        ("aws-sdk-go-v2/1.26.1 os/linux lang/go#1.22.2", "aws-sdk-go-v2", "1.26.1", "Linux", None),
        ("aws-sdk-java/1.12.0 Linux/4.14 OpenJDK/11", "aws-sdk-java", "1.12.0", "Linux", "4.14"),
        ("aws-sdk-js/3.5 ua/2.0 os/darwin#23.4.0 lang/js", "aws-sdk-js", "3.5", "macOS", "23.4.0"),
        ("aws-sdk-nodejs/2.1396.0 linux/v20.13.0 promise", "aws-sdk-js", "2.1396.0", "Linux", None),
        (
            "APN/1.0 HashiCorp/1.0 Terraform/1.5.2 (+https://www.terraform.io) aws-sdk-go/1.44 (go1.20; linux; amd64)",
            *("Terraform", "1.5.2", "Linux", None),
        ),
        (
            "AWSPowerShell.Common/4.1.5 .NET_Core/6.0 OS/Microsoft_Windows_10",
            *("AWS Tools for PowerShell", "4.1.5", "Windows", "10"),
        ),
        ("amazon-ssm-agent/3.3.337.0", "amazon-ssm-agent", "3.3.337.0", None, None),
        ("S3Console/0.4, aws-internal/3", "S3 Console", "0.4", None, None),
        ("console.amazonaws.com", "console.amazonaws.com", None, None, None),
        ("ec2.amazonaws.com", "ec2.amazonaws.com", None, None, None),
        ("s3.amazonaws.com.cn", "s3.amazonaws.com.cn", None, None, None),
        ("signin.amazonaws.cn", "signin.amazonaws.cn", None, None, None),
        ("AWS Internal", "AWS Internal", None, None, None),
        ("ec2-api-tools 1.6.12.2", "ec2-api-tools", "1.6.12.2", None, None),
        ("curl/8.7.1", "curl", "8.7.1", None, None),
        ("python-requests/2.31.0", "python-requests", "2.31.0", None, None),
        ("stratus-red-team_0ab1", "stratus-red-team", None, None, None),
        ("kubectl/v1.29.3 (linux/amd64) kubernetes/6813625", "kubectl", "1.29.3", "Linux", None),
        ("MyTool/7.1 (something)", "MyTool", "7.1", None, None),
        (CHROME.format("Windows NT 10.0; Win64; x64"), "Chrome", "124.0.0.0", "Windows", "10.0"),
        (CHROME.format("Macintosh; Intel Mac OS X 10_15_7"), "Chrome", "124.0.0.0", "macOS", "10.15.7"),
        (CHROME.format("X11; Linux x86_64"), "Chrome", "124.0.0.0", "Linux", None),
        (CHROME.format("Linux; Android 14; Pixel 8"), "Chrome", "124.0.0.0", "Android", "14"),
        (CHROME.format("Windows NT 10.0") + " Edg/124.0.2478.51", "Edge", "124.0.2478.51", "Windows", "10.0"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0", "Firefox", "125.0", "Linux", None),
        ("", None, None, None, None),
        ("-", None, None, None, None),
        ("just words", None, None, None, None),
        ("aws-cli/1.2.3 " + "x" * 3000, None, None, None, None),
    ],
)
def test_agents(text: str, name: str | None, version: str | None, system: str | None, release: str | None) -> None:
    found = parse_user_agent(text)
    assert (found.name, found.version, found.os_name, found.os_version) == (name, version, system, release)
    assert found.os_full == (f"{system} {release}" if release else system)


@pytest.mark.parametrize("device", ["iPhone", "iPad"])
def test_devices(device: str) -> None:
    text = (
        f"Mozilla/5.0 ({device}; CPU {device} OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/17.4.1 Mobile/15E148 Safari/604.1"
    )
    assert parse_user_agent(text) == Agent("Safari", "17.4.1", "iOS", "17.4.1", "iOS 17.4.1", device)
