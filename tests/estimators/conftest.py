"""Studies made in memory, whose true effects are known, and a short way to have their edges judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from whyrank.config import (
    EventsConfig,
    GraphConfig,
    ItemsConfig,
    StudyConfig,
    StudySection,
    UsersConfig,
    ValidationConfig,
)
from whyrank.datasets.study_data import Attribute, Kind, Outcome, StudyData
from whyrank.edge import Contrast, Edge, Hypothesis
from whyrank.estimators.effects import Effect, partialling_out
from whyrank.estimators.estimate import Check, Estimate, Judgement
from whyrank.estimators.estimating import estimate_edges
from whyrank.estimators.judge import judge
from whyrank.estimators.panel import Panel, build_panel

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Any]


class Lab:
    """Builds studies and has them judged."""

    def study(
        self,
        users: Columns,
        items: Columns,
        events: Columns,
        *,
        outcomes: Sequence[str] = ("y",),
        ordinal: Mapping[str, tuple[str, ...]] | None = None,
        reference: Mapping[str, str] | None = None,
        n_users: int | None = None,
        n_items: int | None = None,
        scope: str = "items like these",
        unit: str = "user",
        seed: int = 7,
        language: str = "en",
        audit: bool = False,
        smallest_effect: float = 0.0,
        graph: Sequence[str] = (),
        forbidden: Sequence[str] = (),
        unmeasured: Sequence[str] = (),
        kind: str = "exposures",
        propensity: str | None = None,
        propensity_kind: str = "logged",
        winsorise: float = 1.0,
    ) -> StudyData:
        """Build a study from columns; `events` holds `user`, `item` and the outcomes, the rest is context.

        Kinds are read off the values: texts are categorical (`ordinal` gives levels, lowest first), tuples are sets,
        0/1 is binary, other numbers are numeric.
        """
        given: dict[str, Columns] = {"users": users, "items": items, "events": events}
        rows = {
            "users": n_users or _length(users, events["user"]),
            "items": n_items or _length(items, events["item"]),
            "events": len(events["user"]),
        }
        frames: dict[str, pd.DataFrame] = {}
        attributes: dict[str, Attribute] = {}
        special = {"user", "item", "randomised", "propensity", *outcomes}
        for table, columns in given.items():
            made: dict[str, Any] = {}
            for column, values in columns.items():
                if table == "events" and column in special:
                    dtype = np.int32 if column in ("user", "item") else np.float64
                    made[column] = np.asarray(values, dtype)
                    continue
                name = f"{table}.{column}"
                attribute, made[column] = _column(
                    name, values, (ordinal or {}).get(name), (reference or {}).get(name, "")
                )
                attributes[name] = attribute
            frames[table] = pd.DataFrame(made, index=pd.RangeIndex(rows[table]))
        binary = {o: bool(np.isin(frames["events"][o].dropna(), (0.0, 1.0)).all()) for o in outcomes}
        config = StudyConfig.model_validate(
            {
                "path": Path("whyrank.toml"),
                "study": StudySection.model_validate({"seed": seed, "language": language}),
                "users": UsersConfig.model_validate({"path": "users.csv", "key": "user_id", "unit": unit}),
                "items": ItemsConfig(path="items.csv", key="item_id"),
                "events": EventsConfig.model_validate(
                    {
                        "path": "events.csv",
                        "user": "user_id",
                        "item": "item_id",
                        "outcomes": tuple(outcomes),
                        "kind": kind,
                        "propensity": propensity,
                        "propensity_kind": propensity_kind,
                    }
                ),
                "graph": GraphConfig.model_validate(
                    {"edges": tuple(graph), "forbidden": tuple(forbidden), "unmeasured": tuple(unmeasured)}
                ),
                "validation": ValidationConfig.model_validate(
                    {"scope": scope, "audit": audit, "smallest_effect": smallest_effect, "winsorise": winsorise}
                ),
            }
        )
        return StudyData(
            config=config,
            path=config.path,
            users=frames["users"],
            items=frames["items"],
            events=frames["events"],
            user_ids=np.array([f"u{i:05d}" for i in range(rows["users"])], object),
            item_ids=np.array([f"i{i:05d}" for i in range(rows["items"])], object),
            attributes=attributes,
            outcomes={f"events.{o}": Outcome(f"events.{o}", "probability" if binary[o] else "mean") for o in outcomes},
            texts=(),
            findings=(),
            dropped={},
            fingerprint="made in memory",
        )

    def estimates(self, data: StudyData, *edges: str) -> list[Estimate]:
        """Return every contrast of these edges."""
        found = estimate_edges(data, [Edge.parse(edge) for edge in edges])
        return [estimate for _, estimates in found for estimate in estimates]

    def estimate(
        self, data: StudyData, edge: str, level: str | None = None, modifier_level: str | None = None
    ) -> Estimate:
        """Return the one contrast of an edge (at this level)."""
        found = [
            e
            for e in self.estimates(data, edge)
            if level in (None, e.contrast.level) and modifier_level in (None, e.contrast.modifier_level)
        ]
        assert len(found) == 1, f"{edge} [{level}]: {[e.contrast.label for e in found]}"
        return found[0]

    def verdicts(self, data: StudyData, *edges: str, claimed: str = "", fdr: float = 0.05) -> list[Judgement]:
        """Return the verdicts of these edges."""
        hypotheses = [Hypothesis(Edge.parse(edge), claimed_sign=claimed) for edge in edges]  # type: ignore[arg-type]
        v = data.config.validation
        return judge(
            self.estimates(data, *edges),
            hypotheses,
            fdr=fdr,
            smallest_effect=v.smallest_effect,
            language=data.config.study.language,
        )

    def panel(self, data: StudyData, outcome: str = "events.y") -> Panel:
        """Return the panel of an outcome of the exposures."""
        return build_panel(data, outcome, "exposure")

    def made(self, **changes: Any) -> Estimate:
        """Return an estimate as written by hand: +0.2 (se 0.02) of an item attribute, with nothing against it."""
        values: dict[str, Any] = {
            "contrast": Contrast(Edge("items.a", "events.y"), "1", "0"),
            "grain": "exposure",
            "population": "all rows",
            "scale": "mean",
            "scope": "items like these",
            "estimate": 0.2,
            "se": 0.02,
            "ci_low": 0.16,
            "ci_high": 0.24,
            "naive": 0.25,
            "naive_significant": True,
            "p_value": 1e-9,
            "dof": 50.0,
            "n": 10_000,
            "n_users": 500,
            "n_items": 100,
            "ess": 9_000.0,
            "clusters": "users, items",
            "overlap": 1.0,
            "robustness_value": 0.2,
            "adjusted_for": ("items.b", "users.c"),
            "estimator": "AIPW",
            "smaller_arm": 40,
            "checks": (self.check("overlap"), self.check("placebo")),
        }
        return Estimate(**(values | changes))

    def check(self, name: str, passed: bool | None = True, statistic: float = 1.0, threshold: float = 0.5) -> Check:
        """Return a gate's result."""
        return Check(name, passed, statistic, threshold, f"what {name} says")

    def effect(self, y: Floats, t: Floats) -> Effect:
        """Return the effect of a numeric cause with nothing to adjust for."""
        return partialling_out(y - y.mean(), t - t.mean(), float(t.var()))


def _length(columns: Columns, codes: Sequence[int]) -> int:
    return len(next(iter(columns.values()))) if columns else int(np.max(codes)) + 1


def _column(name: str, values: Any, levels: tuple[str, ...] | None, reference: str) -> tuple[Attribute, Any]:
    kind: Kind
    if isinstance(values, np.ndarray) and values.dtype.kind in "fib":
        numbers = values.astype(np.float64)
        missing = int(np.isnan(numbers).sum())
        if np.isin(numbers[~np.isnan(numbers)], (0.0, 1.0)).all():
            return Attribute(name, "binary", levels=("0", "1"), reference="0", missing=missing), numbers
        return Attribute(name, "numeric", missing=missing), numbers
    cells = list(values)
    if any(isinstance(cell, tuple) for cell in cells):
        found = tuple(sorted({value for cell in cells if cell is not None for value in cell}))
        return Attribute(name, "set", levels=found), pd.Series(cells, dtype=object)
    known = [str(cell) for cell in cells if cell is not None]
    kind = "ordinal" if levels else "categorical"
    levels = levels or tuple(sorted(set(known)))
    counts = {level: known.count(level) for level in levels}
    most = max(levels, key=lambda level: counts[level])
    column = pd.Categorical(
        [None if cell is None else str(cell) for cell in cells], categories=pd.Index(levels), ordered=kind == "ordinal"
    )
    return Attribute(name, kind, levels=levels, reference=reference or most), column


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()
