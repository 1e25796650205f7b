"""The container files, held to the Compose Specification and to this project. No Docker engine is needed or used."""

from __future__ import annotations

import ast
import configparser
import json
import re
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import click
import pytest
import yaml
from jsonschema import Draft7Validator
from moto import mock_aws

from loader.config import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
ONCE = sorted(name for name, service in SERVICES.items() if service["restart"] == "no")
INLINE = sorted(name for name in OURS if SERVICES[name].get("entrypoint") == ["python", "-c"])
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION")

every_service = pytest.mark.parametrize("name", sorted(SERVICES))
every_one_of_ours = pytest.mark.parametrize("name", OURS)


def validator() -> Draft7Validator:
    return Draft7Validator(json.loads((ROOT / "tests" / "schemas" / "compose-spec.json").read_text()))


def test_it_is_of_the_compose_specification() -> None:
    assert [error.message for error in validator().iter_errors(COMPOSE)] == []


@pytest.mark.parametrize(
    "broken",
    [{"imagee": "x"}, {"ports": [{"target": []}]}, {"depends_on": {"moto": {"condition": "started"}}}, {"restart": 1}],
)
def test_the_schema_refuses_what_is_not(broken: dict[str, Any]) -> None:
    changed = {**COMPOSE, "services": {**SERVICES, "moto": {**SERVICES["moto"], **broken}}}
    assert not validator().is_valid(changed)


def test_the_services_of_a_whole_siem_are_there() -> None:
    assert {"opensearch", "opensearch-dashboards", "moto", "setup", "loader", "detector"} <= SERVICES.keys()
    assert OURS == ["delivery", "detector", "loader", "sample", "screens", "setup"]
    assert ONCE == ["delivery", "sample", "screens", "setup"]


# --- what they are told ---------------------------------------------------------------------------------------------


@every_service
def test_every_setting_is_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"SIEM_{field.upper()}" for field in Settings.model_fields}
    environment = SERVICES[name].get("environment", {})
    assert {key for key in environment if key.startswith("SIEM_")} <= known
    assert all(isinstance(value, str) for value in environment.values()), "YAML would turn it into something else"
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    Settings()


def test_the_images_own_settings_are_known() -> None:
    named = set(re.findall(r"\bSIEM_[A-Z_]+", DOCKERFILE))
    assert named - {f"SIEM_{field.upper()}" for field in Settings.model_fields} == {"SIEM_HOME"}


def resolve(command: list[str]) -> click.Command:
    from loader.cli.main import main

    found: click.Command = main
    with click.Context(main) as context:
        for word in command:
            assert isinstance(found, click.Group), f"{word}: {found.name} has no commands"
            inner = found.get_command(context, word)
            assert inner is not None, f"siem {' '.join(command)}: there is no command {word}"
            found = inner
    return found


@pytest.mark.parametrize("name", [name for name in OURS if name not in INLINE])
def test_every_command_exists(name: str) -> None:
    command = SERVICES[name]["command"]
    words = command[: next((at for at, word in enumerate(command) if word.startswith("-")), len(command))]
    found = resolve(words)
    assert not isinstance(found, click.Group)
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in command if word.startswith("--")} <= options


def test_the_images_health_check_is_a_command() -> None:
    (words,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    program, *command = json.loads(words)
    assert program == "siem"
    assert any("--json" in parameter.opts for parameter in resolve(command[:-1]).params)


def code_of(name: str) -> str:
    (code,) = SERVICES[name]["command"]
    assert isinstance(code, str)
    return code


@pytest.mark.parametrize("name", INLINE)
def test_python_in_a_command_imports_what_there_is(name: str) -> None:
    imported = 0
    for node in ast.walk(ast.parse(code_of(name))):
        if isinstance(node, ast.ImportFrom):
            module = import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names)
            imported += 1
    assert imported


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the emulator's users, without its address: moto answers inside this process."""
    for key in CREDENTIALS:
        monkeypatch.setenv(key, SERVICES["delivery"]["environment"][key])
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def test_the_loader_listens_to_the_queue_that_is_created(aws: None, capsys: pytest.CaptureFixture[str]) -> None:
    with mock_aws():
        exec(code_of("delivery"), {})
        (queue,) = boto3.client("sqs").list_queues()["QueueUrls"]
        events = boto3.client("s3").get_bucket_notification_configuration(Bucket="siem-trail")["QueueConfigurations"]
    listened = SERVICES["loader"]["environment"]["SIEM_QUEUE_URL"]
    assert urlsplit(listened).path == urlsplit(queue).path
    assert urlsplit(listened).netloc == urlsplit(SERVICES["loader"]["environment"]["AWS_ENDPOINT_URL"]).netloc
    assert [event["Events"] for event in events] == [["s3:ObjectCreated:*"]]


def test_samples_go_where_cloudtrail_would_put_them(aws: None, tmp_path: Path) -> None:
    name = "123456789012_CloudTrail_us-east-1_20230710T1145Z_7xgocspSowgK0Gto.json.gz"
    (tmp_path / name).write_bytes(b"x")
    with mock_aws():
        exec(code_of("delivery"), {})
        exec(code_of("sample").replace("/sample", str(tmp_path)), {})
        (entry,) = boto3.client("s3").list_objects_v2(Bucket="siem-trail")["Contents"]
    assert entry["Key"] == f"AWSLogs/123456789012/CloudTrail/us-east-1/2023/07/10/{name}"


# --- in which order -------------------------------------------------------------------------------------------------


@every_service
def test_what_is_waited_for_can_happen(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_completed_successfully":
            assert other in ONCE, f"{other} never ends"
        else:
            assert how["condition"] == "service_healthy"
            assert "test" in SERVICES[other]["healthcheck"], f"nobody asks {other} how it is"


@every_service
def test_a_service_that_stays_is_asked_how_it_is(name: str) -> None:
    if name in ONCE:
        assert SERVICES[name]["healthcheck"] == {"disable": True}
    elif name == "detector":
        assert "HEALTHCHECK" in DOCKERFILE
        assert "healthcheck" not in SERVICES[name]
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_the_loader_is_asked_where_it_answers() -> None:
    command = SERVICES["loader"]["command"]
    port = command[command.index("--metrics-port") + 1]
    assert f"http://127.0.0.1:{port}/healthz" in SERVICES["loader"]["healthcheck"]["test"][-1]


# --- and how little they may do -------------------------------------------------------------------------------------


@every_service
def test_a_service_gets_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & service.keys()
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service.get("read_only", False) is (name not in {"opensearch", "opensearch-dashboards"})
    for volume in service.get("volumes", []):
        assert volume.endswith(":ro") or volume.split(":")[0] in COMPOSE["volumes"]


@every_service
def test_ports_are_on_loopback_only(name: str) -> None:
    """There is no sign-in."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@every_service
def test_images_are_pinned_to_a_release(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9/-]+:\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_the_releases_are_those_that_are_tested() -> None:
    from loader.local import distribution

    tested = re.findall(r"\b\d+\.\d+\.\d+\b", Path(distribution.__file__).read_text())
    version = SERVICES["opensearch"]["image"].split(":")[1]
    assert version in tested
    assert SERVICES["opensearch-dashboards"]["image"].split(":")[1] == version
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    assert {SERVICES[name]["image"] for name in OURS} == {f"cloudtrail-siem:{metadata['metadata']['version']}"}


@every_one_of_ours
def test_only_what_talks_to_the_cluster_is_in_its_network(name: str) -> None:
    needs = {"search"} if name in {"setup", "screens", "detector", "loader"} else set()
    needs |= {"edge"} if name in {"delivery", "sample", "loader"} else set()
    assert set(SERVICES[name]["networks"]) == needs
    assert COMPOSE["networks"]["search"] == {"internal": True}


# --- the image ------------------------------------------------------------------------------------------------------


def copied() -> list[str]:
    """Every path that the Dockerfile copies from the build context."""
    lines = [line.split()[1:] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    return [path for words in lines if not words[0].startswith("--from") for path in words[:-1]]


def test_what_is_copied_exists_and_is_let_into_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    patterns = [line for line in ignored if line and not line.startswith("#")]
    assert patterns[0] == "*"
    allowed = {line.removeprefix("!") for line in patterns if line.startswith("!")}
    paths = {path.rstrip("/") for path in copied()}
    assert all((ROOT / path).exists() for path in paths)
    assert allowed == paths
    hidden = [line for line in patterns[1:] if not line.startswith("!")]
    assert not [path for path in paths for pattern in hidden if fnmatch(path, pattern)]


def test_the_image_holds_every_data_folder_of_the_project() -> None:
    from loader import project

    folders = {project.mappings_dir().name, project.rules_dir().name, project.dashboards_dir().name}
    assert folders <= {path.rstrip("/") for path in copied()}
    assert all(f"/opt/siem/{folder}/" in DOCKERFILE for folder in folders)
    assert "SIEM_HOME=/opt/siem" in DOCKERFILE


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["10001:10001"]
    assert DOCKERFILE.rindex("USER ") > max(match.start() for match in re.finditer(r"^(RUN|COPY) ", DOCKERFILE, re.M))


def test_the_images_base_is_pinned_and_of_a_supported_python() -> None:
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    (base,) = bases
    assert re.fullmatch(r"python:3\.12\.\d+-slim-[a-z]+", base)
    assert "ADD " not in DOCKERFILE
    assert ":latest" not in DOCKERFILE
