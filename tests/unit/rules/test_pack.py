"""The rules in ``rules/``: no lint, every test event decided as it says, and the lists they promise to cover."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

import click
import pytest

from loader.cli.main import main
from loader.detection.cases import read_cases
from loader.detection.compile import Pack
from loader.detection.correlation import Tree
from loader.detection.lint import check
from loader.detection.load import RuleSet
from loader.detection.matches import Match
from loader.detection.testing import read_event, run_tests

#: Section 4 of the CIS AWS Foundations Benchmark v5.0.
CIS = [f"4.{number}" for number in range(1, 16)]
#: Numbers of ATT&CK before version 19 that rules use → since.
RENUMBERED = {
    "attack.t1562": "attack.t1685",
    "attack.t1562.001": "attack.t1685",
    "attack.t1562.006": "attack.t1685",
    "attack.t1562.007": "attack.t1686.001",
    "attack.t1562.008": "attack.t1685.002",
}
#: GuardDuty's custom detection rules over single CloudTrail events.
GUARDDUTY = [
    "AdminPolicyAttachedToRole",
    "AdminPolicyAttachedToUser",
    "AMIExternalAccess",
    "BedrockServiceCredentialCreated",
    "ConsoleLoginWithoutMFA",
    "DNSQueryLogsDeleted",
    "EBSSnapshotExternalAccess",
    "EC2InstanceSSHKeyPushed",
    "EC2PasswordDataRetrieved",
    "EC2SecurityGroupPublicSSH",
    "EC2TerminationProtectionEnabled",
    "EC2UserDataModified",
    "IAMAccessKeyCreated",
    "IAMRoleTrustPolicyModified",
    "IAMUserLoginProfileCreated",
    "IAMUserLoginProfileUpdated",
    "LambdaFunctionPublicAccess",
    "LambdaFunctionUrlPublicAccess",
    "RDSIAMAuthDisabled",
    "RDSMasterPasswordReset",
    "RDSPubliclyAccessible",
    "RDSSnapshotPubliclyShared",
    "RolesAnywhereTrustAnchorCreated",
    "S3BucketPolicyExternalAccess",
    "S3CustomerProvidedKeysEnabled",
    "S3LifecycleRapidExpiration",
    "SageMakerLifecycleConfigModified",
    "SESAccountSendingEnabled",
    "SESDomainIdentityVerified",
    "SESFullAccessPolicyAttachedToRole",
    "SESFullAccessPolicyAttachedToUser",
    "SESProductionAccessEnabled",
    "VPCFlowLogsDeleted",
]


def test_no_lint_finds_anything_wrong(rules: RuleSet, pack: Pack) -> None:
    problems = check(rules, pack, today=date.today())  # noqa: DTZ011 (a filter that has expired today is a problem today)
    assert [f"{p.where}: {p.message}" for p in problems if p.severity != "notice"] == []


def test_every_rule_decides_its_test_events_as_they_say(pack: Pack, correlate: Callable[..., bool]) -> None:
    failed = {result.rule.name: result.failures for result in run_tests(pack, correlate) if not result.passed}
    assert failed == {}


def test_there_are_enough_rules_and_correlations(pack: Pack) -> None:
    assert len(pack.rules) >= 200
    assert len(pack.correlations) >= 40


def test_names_are_given_once(rules: RuleSet) -> None:
    names = [rule.sigma_name for rule in (*rules.rules, *rules.correlations) if rule.sigma_name]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("control", CIS)
def test_every_monitoring_control_of_cis_has_a_rule_that_says_so_in_its_title(rules: RuleSet, control: str) -> None:
    tagged = [rule.title for rule in rules.rules if f"cis.aws.v5.{control}" in rule.tags]
    assert any(title.endswith(f"(CIS {control})") for title in tagged), tagged


def test_rules_carry_the_numbers_of_attack_19_beside_the_older_ones(rules: RuleSet) -> None:
    """T1562 and its parts were renumbered; whoever reads alerts may have either version of the matrix."""
    for rule in (*rules.rules, *rules.correlations):
        older = {RENUMBERED[tag] for tag in rule.tags if tag in RENUMBERED}
        assert older <= set(rule.tags), rule.name
        assert not older or "attack.defense-impairment" in rule.tags, rule.name


def test_commands_that_rules_tell_people_to_run_exist(rules: RuleSet) -> None:
    """A runbook is read at three in the morning: what it says must run."""
    context = click.Context(main)
    for rule in (*rules.rules, *rules.correlations):
        text = " ".join((rule.runbook or "", *rule.blind_spots))
        for group, command in re.findall(r"\bsiem ([a-z]+) ([a-z]+)", text):
            found = main.get_command(context, group)
            known = found is not None and (not isinstance(found, click.Group) or command in found.commands)
            assert known, f"{rule.name}: siem {group} {command}"
        assert "siem " in (rule.runbook or ""), rule.name


@pytest.mark.parametrize("signal", GUARDDUTY)
def test_every_custom_detection_signal_of_guardduty_has_a_rule(rules: RuleSet, signal: str) -> None:
    assert any(f"guardduty.{signal.lower()}" in rule.tags for rule in rules.rules)


def test_what_a_correlation_rests_on_still_raises_its_own_alerts(pack: Pack) -> None:
    """A correlation silences its base rules: those must be rules written for it, at the level that nobody is shown."""
    assert [base.rule.name for base in pack.base_rules if base.rule.level != "informational"] == []


def test_every_event_that_a_rule_is_for_has_the_fields_it_is_folded_by(pack: Pack) -> None:
    """A match without one of the fields of ``siem.suppress.by`` is in no group, and no alert comes of it."""
    lost = [
        rule.rule.name
        for rule in pack.rules
        for history in read_cases(rule.rule).match
        for event in [read_event(history[0])[1]]
        if not Tree(rule).groups(rule.query_hash, Match("log", "1", 0, event.source))
    ]
    assert lost == []
