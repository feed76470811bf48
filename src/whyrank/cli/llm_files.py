"""`whyrank llm export` and `import`: a model that answers files instead of requests."""

from __future__ import annotations

from pathlib import Path

import click

from whyrank.cli.output import plain
from whyrank.cli.study_options import open_study, study_options

__all__ = ["export_questions", "import_replies"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("export")
@study_options
@click.argument("questions", type=_FILE, metavar="FILE.jsonl")
@click.option("--model", metavar="NAME", help="The model that will answer. [default: the study's]")
def export_questions(study: Path, workdir: Path | None, questions: Path, model: str | None) -> None:
    """Write the questions that a model would be asked now, in OpenAI's batch format.

    `vllm run-batch -i FILE.jsonl -o REPLIES.jsonl --model NAME` answers them; then `whyrank llm import`.
    """
    _step(study, workdir, replies=None, questions=questions, model=model)


@click.command("import")
@study_options
@click.argument("replies", type=_FILE, metavar="REPLIES.jsonl")
@click.option("--model", metavar="NAME", help="The model that answered. [default: the study's]")
@click.option("--next", "questions", type=_FILE, metavar="FILE.jsonl", help="Write the questions that follow.")
def import_replies(study: Path, workdir: Path | None, replies: Path, questions: Path | None, model: str | None) -> None:
    """Take in the replies to a file of questions; each is validated like a live one."""
    _step(study, workdir, replies=replies, questions=questions, model=model)


def _step(
    study: Path, workdir: Path | None, *, replies: Path | None, questions: Path | None, model: str | None
) -> None:
    from whyrank.offline import propose_offline

    opened = open_study(study, workdir)
    step = propose_offline(opened.data, opened.ledger, replies=replies, questions=questions, model=model)
    if replies is not None:
        wrong = ", ".join(f"{count} {kind}" for kind, count in step.failures.items())
        click.echo(f"{step.imported} replies kept{f'; to be asked again: {wrong}' if wrong else ''}")
        if step.unknown or step.unreadable:
            click.echo(f"{step.unknown} replies that nobody asked for, {step.unreadable} lines that are none", err=True)
    if not step.pending:
        click.echo(f"nothing is left to ask; {step.hypotheses} hypotheses; next: whyrank run {study}")
    elif questions is not None:
        click.echo(f"{step.pending} questions ({plain(step.what)}) in {questions}")
    else:
        click.echo(f"{step.pending} questions ({plain(step.what)}) wait: write them with --next FILE.jsonl")
