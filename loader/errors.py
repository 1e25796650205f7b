"""The one error tree. Every error says what went wrong, where, and what to do next."""

from __future__ import annotations


class SiemError(Exception):
    """Root of every error this project raises on purpose.

    ``where`` is the place a person can go to: ``s3://bucket/key#17``, ``rule.yml:12``, a URL or a path.
    ``hint`` is the next step, in one sentence.
    """

    #: Exit code of the command line when this error ends it.
    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class ConfigError(SiemError):
    """A setting is missing or makes no sense."""

    exit_code = 2


class ClusterError(SiemError):
    """The search cluster could not be reached, or refused in a way that trying again later may cure."""


class LocalStackError(SiemError):
    """The local stack (OpenSearch node, AWS emulator) could not be set up, started or stopped."""


class SourceError(SiemError):
    """An object could not be turned into records. ``kind`` is the name it is counted and parked under."""

    def __init__(self, message: str, *, kind: str, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, where=where, hint=hint)
        self.kind = kind


class RecordError(SiemError):
    """One record can never become a document. ``kind`` is the name it is dead-lettered under."""

    def __init__(self, message: str, *, kind: str, where: str | None = None) -> None:
        super().__init__(message, where=where)
        self.kind = kind


class RuleError(SiemError):
    """A rule cannot be loaded, linted or compiled."""


class MappingError(SiemError):
    """A file under ``mappings/`` is broken or does not hold what it is asked for."""


class DashboardError(SiemError):
    """A dashboard's sources or saved objects are broken."""
