"""``siem``: the root command, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version

import click

from loader.cli.output import error_console, print_error
from loader.errors import SiemError

#: Command name → module that holds it (as ``command``). Modules are imported when their command runs: ``siem --help``
#: and tab completion stay fast.
_COMMANDS = {
    "demo": "loader.cli.demo",
    "up": "loader.cli.up",
    "down": "loader.cli.down",
    "status": "loader.cli.status",
    "load": "loader.cli.load",
    "mappings": "loader.cli.mappings",
    "normalise": "loader.cli.normalise",
    "rules": "loader.cli.rules",
    "detect": "loader.cli.detect",
    "alerts": "loader.cli.alerts",
    "notify": "loader.cli.notify",
    "dashboards": "loader.cli.dashboards",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        from importlib import import_module

        found: click.Command = import_module(module).command
        return found


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("cloudtrail-siem"), prog_name="siem")
def main() -> None:
    """A SIEM for AWS CloudTrail on OpenSearch and Elasticsearch.

    Log files in S3 become ECS documents in daily indices, Sigma rules become alerts, and every record is accounted for.

    New here? `siem demo` shows the whole way on this machine, with bundled real log files.

    Settings are environment variables (SIEM_CLUSTER_URL, SIEM_QUEUE_URL, …; see docs/settings.md). Without
    SIEM_CLUSTER_URL, commands use the local stack that `siem up` started.
    """


def run() -> None:
    """Run ``siem``: errors on purpose become a message and an exit code, anything else a short report."""
    logging.captureWarnings(True)
    try:
        # Without standalone mode click returns the code of an `Exit` instead of ending the process with it.
        sys.exit(main(standalone_mode=False))
    except SiemError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        error_console().print("Stopped.")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`siem … | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("SIEM_DEBUG"):
            raise
        if (told := _configuration_error(error)) is not None:
            print_error(told)
            sys.exit(told.exit_code)
        screen = error_console()
        screen.print("[bold red]Defect[/] ", end="")
        screen.print(f"{type(error).__name__}: {error}", markup=False)
        screen.print("  next Run again with SIEM_DEBUG=1 for the traceback, and report it.", markup=False)
        sys.exit(70)


def _configuration_error(error: Exception) -> SiemError | None:
    """Return what is wrong with AWS settings here: whatever asks AWS for something may be the first to notice."""
    from loader.aws_errors import configuration_error  # takes botocore along, which few commands need

    return configuration_error(error)
