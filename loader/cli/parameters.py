"""Values that people give on the command line, checked where they are given."""

from __future__ import annotations

import re
from datetime import date

import click

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ACCOUNT = re.compile(r"\d{12}")
#: ``us-gov-west-1``, ``eusc-de-east-1``: https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html
_REGION = re.compile(r"[a-z]{2,6}(-[a-z]+)+-\d{1,2}")


class Something(click.ParamType[str]):
    """A text that is not empty: the variable of a script that is not set is a slip, never a choice."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        if not value.strip():
            self.fail("It is empty. Is a variable not set?", param, ctx)
        return value


class AccountId(click.ParamType[str]):
    """An AWS account: twelve digits, also as the console shows them, 1234-5678-9012."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the twelve digits."""
        digits = value.replace("-", "").strip()
        if not _ACCOUNT.fullmatch(digits):
            self.fail(f"{value!r} is no account: it has twelve digits.", param, ctx)
        return digits


class Day(click.ParamType[date]):
    """A day, YYYY-MM-DD."""

    name = "day"

    def convert(self, value: str | date, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day."""
        if isinstance(value, date):
            return value
        try:
            # Later releases of Python read other forms as well.
            return date.fromisoformat(value if _DAY.fullmatch(value) else "")
        except ValueError:
            self.fail(f"{value!r} is no day such as 2026-11-01.", param, ctx)


class RegionName(click.ParamType[str]):
    """A Region by its code."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the code, in small letters."""
        code = value.strip().lower()
        if not _REGION.fullmatch(code):
            self.fail(f"{value!r} is no Region: they are called eu-central-1 or us-gov-west-1.", param, ctx)
        return code
