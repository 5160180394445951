"""The command line: thin, every command reads its options, calls the pipeline and prints one report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from . import __version__, pipeline
from .core import config, registry
from .core.config import Settings
from .core.diagnostic import Report, Severity
from .core.errors import UsageError
from .report import FORMATS, render

Command = TypeVar("Command", bound=Callable[..., Any])
NEVER = "never"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="modellint")
def cli() -> None:
    """A linter for PyTorch training: suspect by reading, convict by measuring, prove by re-running.

    Exit codes: 0 clean, 1 findings, 2 usage, configuration, or a probe that could not run to its end.
    """


def main() -> NoReturn:
    """The console script: what a user can mend is one line and exit code 2, never a traceback of ours."""
    try:
        sys.exit(cli.main(standalone_mode=True))
    except UsageError as error:
        _fail(str(error))
    except Exception as error:
        if os.environ.get("MODELLINT_DEBUG"):
            raise
        _fail(
            f"internal error: {type(error).__name__}: {error} (MODELLINT_DEBUG=1 shows the traceback; please report it)"
        )


def _fail(message: str) -> NoReturn:
    click.echo(f"modellint: {message}", err=True)
    sys.exit(2)


def reporting(command: Command) -> Command:
    """The options that every command with a report shares."""
    options = (
        click.option(
            "--select", multiple=True, metavar="RULE", help="Only these rules: name, code or start of a code."
        ),
        click.option("--ignore", multiple=True, metavar="RULE", help="Not these rules."),
        click.option("--extend-select", multiple=True, metavar="RULE", help="These rules too."),
        click.option("--output-format", type=click.Choice(FORMATS), default="full", show_default=True),
        click.option("--output-file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there."),
        click.option(
            "--fail-on",
            type=click.Choice([*(str(level) for level in reversed(Severity)), NEVER]),
            default="warning",
            show_default=True,
            help="The lowest level that makes the exit code 1; what is only suspected is a note.",
        ),
        click.option("--exit-zero", is_flag=True, help="Exit 0 even with findings."),
        click.option("--isolated", is_flag=True, help="Read no pyproject.toml."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def launching(command: Command) -> Command:
    """The options that every command shares which runs the user's code."""
    options = (
        click.option(
            "--python", metavar="EXE", help="The interpreter that has torch (default: the one modellint runs in)."
        ),
        click.option(
            "--max-seconds", type=float, default=600.0, show_default=True, help="End the run after this time."
        ),
        click.option(
            "--start-seconds", type=float, default=300.0, show_default=True, help="Time until the first step."
        ),
        click.option("--step-seconds", type=float, default=60.0, show_default=True, help="Time for each further step."),
        click.option("--show-output", is_flag=True, help="Show the script's own output on standard error."),
        click.option(
            "--allow-writes", is_flag=True, help="Let the run overwrite and delete files that existed before."
        ),
        click.option(
            "--run-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep what was recorded there."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--target", "targets", multiple=True, metavar="PKG.MODULE:FACTORY", help="Run one step of what it returns."
)
@reporting
@launching
def check(paths: tuple[Path, ...], targets: tuple[str, ...], **options: Any) -> None:
    """Read training scripts and report what reading finds; nothing is executed unless --target asks for it."""
    settings = _settings(options)
    reports = [_target(target, options, settings) for target in targets or (() if paths else settings.targets)]
    if paths or not targets:
        reports.insert(0, pipeline.check(paths or (Path(),), settings))
    _finish(pipeline.together(reports), options)


class Probe(click.Command):
    """Options before `--` are modellint's, all that follows it is the user's; nothing is guessed in between."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        command = next((arg for arg in args if not arg.startswith("-")), "train.py")
        dashed = "--" in args
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = (
                "" if dashed else f" The options of your own command go behind `--`: modellint probe -- {command} ..."
            )
            raise click.NoSuchOption(error.option_name, f"{error.message}{hint}", ctx=ctx) from error


@cli.command(cls=Probe)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Optimizer steps to watch.")
@click.option("--finish", is_flag=True, help="Let the script run to its own end after the watched steps.")
@reporting
@launching
def probe(command: tuple[str, ...], **options: Any) -> None:
    """Run your own training command for a few real steps under hooks, and report what was read and measured.

    COMMAND is anything that trains (`-- python train.py --lr 0.1`, `-- torchrun ...`), or just a script: `train.py`.
    """
    from .measure import launch

    settings = _settings(options)
    _finish(pipeline.judge(launch.launch(command, _launch_options(options)), settings), options)


@cli.command("report")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@reporting
def report_(run: Path, **options: Any) -> None:
    """Judge a recorded run again: RUN is its folder or its run.json."""
    from .measure import merge

    _finish(pipeline.judge(merge.load(run), _settings(options)), options)


@cli.command()
@click.argument("rule")
def explain(rule: str) -> None:
    """Explain a rule: why it hurts, what to do, examples, thresholds and where they come from."""
    from .core.explain import explain as text

    settings = config.load(Path())
    click.echo(text(registry.find(rule, pipeline.known(settings))))


@cli.command()
def rules() -> None:
    """List all rules, a line each."""
    everything = pipeline.known(config.load(Path()))
    width = max(len(rule.name) for rule in everything)
    for rule in everything:
        click.echo(f"{rule.code}  {rule.name:<{width}}  {rule.severity:<7}  {rule.summary()}")


@cli.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
def test(paths: tuple[Path, ...]) -> None:
    """Run the self-tests (`bad` and `good`) of the rule files in PATHS, or of all rules that are configured."""
    from . import selftest

    everything = registry.load(paths) if paths else pipeline.known(config.load(Path()))
    names = {path.stem for place in paths for path in (place.rglob("*.py") if place.is_dir() else [place])}
    mine = [rule for rule in everything if not paths or rule.name.replace("-", "_") in names]
    failures = [failure for rule in mine for failure in selftest.failures(rule)]
    for failure in failures:
        click.echo(failure)
    click.echo(f"{len(mine)} rules, {len(failures)} failures")
    sys.exit(1 if failures else 0)


def _settings(options: dict[str, Any]) -> Settings:
    settings = Settings(root=Path().resolve()) if options["isolated"] else config.load(Path())
    return settings.but(**{name: options[name] for name in ("select", "ignore", "extend_select")})


def _launch_options(options: dict[str, Any]) -> Any:
    from .measure.launch import Options

    names = ("python", "max_seconds", "start_seconds", "step_seconds", "show_output", "allow_writes", "run_dir")
    return Options(**{name: options[name] for name in (*names, "steps", "finish") if name in options})


def _target(target: str, options: dict[str, Any], settings: Settings) -> Report:
    from .measure import launch

    return pipeline.judge(launch.target(target, _launch_options(options)), settings)


def _finish(report: Report, options: dict[str, Any]) -> NoReturn:
    to_file: Path | None = options["output_file"]
    text = render(report, options["output_format"], color=False if to_file else None)
    if to_file:
        to_file.write_text(text, encoding="utf-8")
    else:
        click.echo(text.encode(), nl=not text.endswith("\n"))
    if report.problem is not None:
        _fail(report.problem.message)
    failing = options["fail_on"] != NEVER and report.at_least(Severity(options["fail_on"]))
    sys.exit(1 if failing and not options["exit_zero"] else 0)
