from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from whyrank.cli import main
from whyrank.cli.page import cli_page
from whyrank.datasets.study_data import Finding
from whyrank.edge import Edge
from whyrank.errors import InputError, LedgerError

if TYPE_CHECKING:
    from tests.cli.conftest import FakeStudy

Cli = Callable[..., Result]

COMMANDS = [
    *(name for name, command in main.commands.items() if not isinstance(command, click.Group)),
    *(f"{g} {c}" for g, group in main.commands.items() if isinstance(group, click.Group) for c in group.commands),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(whyrank_cli: Cli, command: str) -> None:
    result = whyrank_cli(*command.split(), "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {command}")
    assert result.stderr == ""


def test_the_commands_are_those_of_the_contract() -> None:
    assert list(main.commands) == [
        "init", "check", "attributes", "run", "propose", "validate", "verdicts", "weights", "effects", "recommend",
        "explain", "report", "llm", "example",
    ]  # fmt: skip


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from whyrank.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pandas', 'numpy', 'rich', 'dowhy', 'sqlalchemy', 'openai', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 5


def test_the_page_of_commands_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    assert page.read_text(encoding="utf-8") == cli_page(), "run: python -m whyrank.cli.page docs/cli.md"


# errors and exit codes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verdicts", "missing"], "error: there is no study at 'missing'\n"),
        (["nonsense"], "No such command 'nonsense'"),
        (["verdicts"], "Missing argument 'STUDY'"),
        (["verdicts", "shop", "--format", "xml"], "Invalid value for '--format'"),
        (["recommend", "shop"], "give --user ID (once or more often), or --all-users"),
        (["recommend", "shop", "--user", "u1", "--all-users"], "give --user ID (once or more often), or --all-users"),
        (["recommend", "shop", "--user", "u1", "-k", "0"], "0 is not in the range"),
        (["recommend", "shop", "--user", "u1", "--context", "display"], "context 'display' is not like 'display=1'"),
        (["recommend", "shop", "--user", "nobody"], "no user 'nobody'"),
        (["run", "shop", "--user", "nobody"], "no user 'nobody'"),
        (["explain", "shop"], "give --edge EDGE, or both --user ID and --item ID"),
        (["explain", "shop", "--user", "u1"], "give --edge EDGE, or both --user ID and --item ID"),
        (["explain", "shop", "--edge", "a -> b", "--item", "i1"], "give --edge EDGE, or both --user ID and --item ID"),
        (["explain", "shop", "--edge", "price"], "'price' is not an edge"),
        (["validate", "shop", "--edge", "price"], "'price' is not an edge"),
        (["run", "shop", "--source", "llm,discovery"], "'discovery' is not available in this version"),
        (["propose", "shop", "--source", "exhaustiv"], "did you mean 'exhaustive'?"),
        (["propose", "shop", "--source", "none.jsonl"], "'none.jsonl': there is no such file"),
        (["propose", "shop", "--source", ""], "source ''"),
    ],
)
def test_wrong_use_is_one_clear_message_and_exit_2(
    whyrank_cli: Cli, fake: FakeStudy, arguments: list[str], said: str
) -> None:
    result = whyrank_cli(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            InputError("nothing judged yet: run `whyrank run shop`"),
            2,
            "error: nothing judged yet: run `whyrank run shop`\n",
        ),
        (LedgerError("the ledger is newer"), 1, "error: the ledger is newer\n"),
        (KeyError("x\ny"), 1, "error: unexpected KeyError: 'x\\ny'\nSet WHYRANK_DEBUG=1"),
        (KeyboardInterrupt(), 130, "interrupted; what was finished is kept\n"),
    ],
)
def test_errors_are_told_without_a_traceback(
    whyrank_cli: Cli, fake: FakeStudy, error: BaseException, code: int, said: str
) -> None:
    fake.fail = error
    result = whyrank_cli("verdicts", "shop")
    assert result.exit_code == code
    assert result.stderr.startswith(said)
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_who_debugs_sees_the_traceback(whyrank_cli: Cli, fake: FakeStudy, capfd: pytest.CaptureFixture[str]) -> None:
    fake.fail = LedgerError("the ledger is newer")
    result = whyrank_cli("verdicts", "shop", env={"WHYRANK_DEBUG": "1"})
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "--debug" not in whyrank_cli("--help").stdout


def test_a_closed_pipe_is_no_error(whyrank_cli: Cli, fake: FakeStudy) -> None:
    fake.fail = BrokenPipeError(32, "Broken pipe")
    assert whyrank_cli("verdicts", "shop").stderr == ""


def test_own_warnings_are_lines_and_those_of_libraries_are_kept_away(whyrank_cli: Cli, fake: FakeStudy) -> None:
    result = whyrank_cli("verdicts", "shop", "--format", "csv")
    assert result.stderr == "warning: few rows\n"


# the verdict table


def test_the_table_is_legible_at_100_columns_and_the_telling_rows_come_first(whyrank_cli: Cli, fake: FakeStudy) -> None:
    result = whyrank_cli("verdicts", "shop")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert max(map(len, lines)) <= 100
    verdicts = [line.split()[1] for line in lines if line[1:2] in set("✓✗?∅")]
    assert verdicts == ["validated"] * 3 + ["refuted", "inconclusive", "unidentifiable"]
    assert any("items.免运费 -> events.purchase" in line and "+2.13 [+1.28, +2.98] pp" in line for line in lines)
    assert "first reason" in result.stdout
    assert "second reason" not in result.stdout
    assert "items.brand[premium]" in result.stdout
    assert "[bold]x[/bold]" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_terminal_without_the_letters_gets_question_marks(fake: FakeStudy) -> None:
    result = CliRunner(charset="ascii").invoke(main, ["verdicts", "shop"])
    assert result.exit_code == 0
    assert "? validated" in result.stdout


def test_csv_floats_round_trip(whyrank_cli: Cli, fake: FakeStudy) -> None:
    result = whyrank_cli("verdicts", "shop", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == list(fake.judged.columns)
    assert {float(r["estimate"]) for r in rows if r["estimate"]} == set(fake.judged["estimate"].dropna())
    assert "items.免运费 -> events.purchase" in {r["edge"] for r in rows}


def test_json_has_null_for_what_is_not_a_number(whyrank_cli: Cli, fake: FakeStudy) -> None:
    records = json.loads(whyrank_cli("verdicts", "shop", "--format", "json").stdout, parse_constant=pytest.fail)
    assert len(records) == len(fake.judged)
    by_edge = {r["edge"]: r for r in records}
    assert by_edge["users.region -> events.purchase"]["estimate"] is None
    assert by_edge["items.discount -> events.purchase"]["estimate"] == 0.1 / 3
    assert by_edge["items.discount -> events.purchase"]["n"] == 10


@pytest.mark.parametrize("how", [["--format", "parquet"], []])
def test_parquet_goes_to_a_file(whyrank_cli: Cli, fake: FakeStudy, tmp_path: Path, how: list[str]) -> None:
    path = tmp_path / "verdicts.parquet"
    result = whyrank_cli("verdicts", "shop", "--output", path, *how)
    assert (result.exit_code, result.stdout) == (0, "")
    read = pd.read_parquet(path)
    assert sorted(read["edge"]) == sorted(fake.judged["edge"])
    assert [p.name for p in tmp_path.iterdir()] == ["verdicts.parquet"]


def test_parquet_is_not_for_a_terminal(whyrank_cli: Cli, fake: FakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)
    result = whyrank_cli("verdicts", "shop", "--format", "parquet")
    assert result.exit_code == 2
    assert "Parquet is not for a terminal" in result.stderr


def test_a_file_that_cannot_be_written_is_named(whyrank_cli: Cli, fake: FakeStudy, tmp_path: Path) -> None:
    result = whyrank_cli("verdicts", "shop", "--output", tmp_path / "no" / "v.csv")
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
    assert "v.csv" in result.stderr


def test_an_empty_table_is_an_empty_list(whyrank_cli: Cli, fake: FakeStudy) -> None:
    fake.judged = fake.judged.iloc[:0]
    assert json.loads(whyrank_cli("verdicts", "shop", "--format", "json").stdout) == []
    assert whyrank_cli("verdicts", "shop").exit_code == 0


# the other commands


def test_workdir_reaches_the_study(whyrank_cli: Cli, fake: FakeStudy, tmp_path: Path) -> None:
    whyrank_cli("verdicts", "shop", "--workdir", tmp_path)
    assert fake.calls == [("open", (Path("shop"), tmp_path))]


@pytest.mark.parametrize(("severity", "code"), [("error", 2), ("warning", 0)])
def test_check_fails_on_what_is_wrong_and_not_on_what_is_doubtful(
    whyrank_cli: Cli, fake: FakeStudy, severity: str, code: int
) -> None:
    fake.findings = [Finding(severity, "unknown_user", "events.csv: user_id 'u9' is not in users.csv")]  # type: ignore[arg-type]
    result = whyrank_cli("check", "shop")
    assert result.exit_code == code
    assert "events.csv: user_id 'u9' is not in users.csv [unknown_user]" in (result.stderr if code else result.stdout)
    records = json.loads(whyrank_cli("check", "shop", "--format", "json").stdout)
    assert [r["code"] for r in records] == ["unknown_user"]


def test_propose_lists_hypotheses(whyrank_cli: Cli, fake: FakeStudy, tmp_path: Path) -> None:
    given = tmp_path / "mine.jsonl"
    given.write_text("{}\n")
    result = whyrank_cli("propose", "shop", "--source", f"llm, exhaustive,{given}", "--format", "json")
    assert fake.calls[-1] == ("propose", ("llm", "exhaustive", str(given)))
    (record,) = json.loads(result.stdout)
    assert (record["edge"], record["claimed_sign"], record["confidence"]) == (
        "items.discount -> events.purchase",
        "+",
        0.8,
    )


def test_proposals_can_be_proposed_again(whyrank_cli: Cli, fake: FakeStudy, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    assert whyrank_cli("propose", "shop", "--output", path).stdout == ""
    assert json.loads(path.read_text())["edge"] == "items.discount -> events.purchase"
    assert whyrank_cli("propose", "shop", "--source", path).exit_code == 0
    assert fake.calls[-1] == ("propose", (str(path),))


def test_validate_takes_edges(whyrank_cli: Cli, fake: FakeStudy) -> None:
    edge = "items.discount -> events.purchase | users.new_user"
    assert whyrank_cli("validate", "shop", "--edge", edge).exit_code == 0
    assert ("validate", [Edge.parse(edge)]) in fake.calls
    whyrank_cli("validate", "shop")
    assert ("validate", None) in fake.calls


def test_weights_name_their_outcome_and_users(whyrank_cli: Cli, fake: FakeStudy) -> None:
    result = whyrank_cli("weights", "shop", "--outcome", "purchase", "--user", "u1", "--format", "json")
    assert fake.calls[-1] == ("weights", ("purchase", ["u1"]))
    (record,) = json.loads(result.stdout)
    assert math.isclose(record["weight"], 0.1 / 3, rel_tol=0)
    assert record["se"] is None


def test_recommend_gives_each_item_its_reasons(whyrank_cli: Cli, fake: FakeStudy) -> None:
    result = whyrank_cli(
        "recommend", "shop", "--user", "u2", "--user", "u1", "-k", "2", "--include-seen", "--context", "display=1",
        "--format", "json",
    )  # fmt: skip
    records = json.loads(result.stdout)
    assert fake.the_ranker.asked == [(("u2", "u1"), 2, True, {"display": "1"})]
    assert [(r["user_id"], r["item_id"], r["rank"]) for r in records] == [
        ("u2", "i1", 1), ("u2", "i2", 2), ("u1", "i1", 1), ("u1", "i2", 2),
    ]  # fmt: skip
    assert records[0]["reasons"] == "i1 has free_shipping = 1 (validated); Popularity counts 0.1"


def test_the_table_says_what_an_item_is_and_csv_stays_as_it_is(whyrank_cli: Cli, fake: FakeStudy) -> None:
    asked = ("recommend", "shop", "--user", "u1", "-k", "1")
    assert "Cup i1" in whyrank_cli(*asked).stdout
    assert "Cup i1" in whyrank_cli("explain", "shop", "--user", "u1", "--item", "i1").stdout
    assert "Cup" not in whyrank_cli(*asked, "--format", "csv").stdout


def test_recommend_for_everybody_leaves_the_study_its_own_rule_on_seen_items(whyrank_cli: Cli, fake: FakeStudy) -> None:
    result = whyrank_cli("recommend", "shop", "--all-users", "-k", "1", "--no-reasons", "--format", "csv")
    assert result.stdout.splitlines() == ["user_id,item_id,rank,score", "u1,i1,1,0.1", "u2,i1,1,0.1"]
    assert fake.the_ranker.asked == [(("u1", "u2"), 1, None, None)]


def test_explain_takes_a_score_or_a_verdict_apart(whyrank_cli: Cli, fake: FakeStudy) -> None:
    score = whyrank_cli("explain", "shop", "--user", "u1", "--item", "i3").stdout
    assert "score 0.11 = popularity 0.1 + causal 0.01" in score
    assert "items.discount -> events.purchase: validated" in " ".join(score.split())
    parts = json.loads(whyrank_cli("explain", "shop", "--user", "u1", "--item", "i3", "--format", "json").stdout)
    assert parts["base"] + sum(c["contribution"] for c in parts["contributions"]) == pytest.approx(parts["score"])


def test_explain_shows_the_evidence_down_to_the_prompt(whyrank_cli: Cli, fake: FakeStudy) -> None:
    edge = "items.discount -> events.purchase"
    lines = whyrank_cli("explain", "shop", "--edge", edge).stdout.splitlines()
    assert lines[:3] == [edge, "✓ validated: +2.00 [+1.00, +3.00] pp, naive +5.00 pp, q .010", "  reason: it holds"]
    said = " ".join(" ".join(lines).split())
    for expected in ("warning: few rows", "rows 1,200", "adjusted for items.price", "effective sample n/a",
                     "random common cause failed it moved", "proposed by llm, round 2, claims +: Cheaper.",
                     "prompt: Which? Say.", 'raw reply: {"a": 1}�[2J'):  # fmt: skip
        assert expected in said
    trace = json.loads(whyrank_cli("explain", "shop", "--edge", edge, "--format", "json").stdout)
    assert len(trace["checks"][0]["data"]["draws"]) == 500


def test_run_ends_with_verdicts_items_and_the_report(whyrank_cli: Cli, fake: FakeStudy) -> None:
    result = whyrank_cli("run", "shop", "--source", "exhaustive")
    assert result.exit_code == 0
    assert ("run", ("exhaustive",)) in fake.calls
    assert "3 validated" in result.stdout
    assert "For u1, ranked for events.purchase:" in result.stdout
    assert len(re.findall(r"\+0\.0100? +discount = 1", result.stdout)) == 10
    assert "3 hypotheses, 3 contrasts estimated now, 2 model calls sent and 1 answered" in result.stdout
    assert result.stdout.endswith("report: shop/.whyrank/report.html\n")
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert "For u2," in whyrank_cli("run", "shop", "--user", "u2").stdout


def test_report_prints_its_path(whyrank_cli: Cli, fake: FakeStudy, tmp_path: Path) -> None:
    assert whyrank_cli("report", "shop", "--output", tmp_path / "r.html").stdout == f"{tmp_path / 'r.html'}\n"
