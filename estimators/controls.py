"""Negative-control outcomes: what a cause can't affect, it must not seem to.

A study says so under `[graph]`: `forbidden = ["items.badge -> events.returned"]`. Whatever confounds the cause with
purchases would likely confound it with returns too, so an effect on returns is a sign that something was left open.

References
----------
Lipsitch, Tchetgen Tchetgen and Cohen (2010), Negative controls: a tool for detecting confounding and bias in
observational studies, Epidemiology 21.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import networkx as nx
import numpy as np

from whyrank.datasets.study_data import StudyData
from whyrank.edge import Edge
from whyrank.estimators.bootstrap import Inference, t_quantile
from whyrank.estimators.contrasts import Arm, arms
from whyrank.estimators.effects import Effect
from whyrank.estimators.estimate import Check
from whyrank.estimators.graph import declared_graph
from whyrank.estimators.identify import Identification, identify
from whyrank.estimators.panel import build_panel
from whyrank.estimators.shared import SharedNuisances
from whyrank.estimators.words import say

__all__ = ["Controls", "control_outcomes"]

Estimator = Callable[[SharedNuisances, Edge, Arm, Identification], tuple[Effect, Inference]]
"""Estimates one arm's effect, and says how sure it is."""


def control_outcomes(data: StudyData, edge: Edge) -> tuple[str, ...]:
    """Return the outcomes that the study says its cause can't affect; none for totals and attributes.

    An outcome that the cause may reach by way of an attribute that follows from it, such as an instrument's, is none.
    """
    if not edge.effect.startswith("events."):
        return ()
    arrows = {(arrow.cause, arrow.effect) for arrow in data.config.graph.forbidden}
    graph = declared_graph(data)
    after = nx.descendants(graph, edge.cause) if edge.cause in graph else set()
    by_way = [name for name in after if name in data.attributes]
    return tuple(
        name
        for name in dict.fromkeys(arrow.effect for arrow in data.config.graph.forbidden if arrow.cause == edge.cause)
        if name in data.outcomes
        and name != edge.effect
        and name not in after
        and all((other, name) in arrows for other in by_way)
    )


@dataclass
class Controls:
    """Negative controls of one run: the nuisances of each control outcome are shared by all causes that name it.

    Attributes
    ----------
    data : the study.
    estimate : how an effect is estimated.
    """

    data: StudyData
    estimate: Estimator
    _shared: dict[str, SharedNuisances] = field(default_factory=dict)

    def check(self, edge: Edge, level: str) -> tuple[Check, ...]:
        """Test one level of an edge's cause on its control outcomes; nothing where there is none.

        Each is tested at 5 % divided by their number; the one that strays furthest is told.
        """
        outcomes = control_outcomes(self.data, edge)
        found = ((name, self._on(Edge(edge.cause, name), level)) for name in outcomes)
        tested = {name: pair for name, pair in found if pair is not None}
        if not tested:
            return ()
        strays = {name: abs(effect.estimate) / told.se for name, (effect, told) in tested.items()}
        worst = max(strays, key=lambda name: strays[name])
        effect, told = tested[worst]
        limit = t_quantile(told.dof, 1 - 0.05 / len(tested))
        detail = say(
            self.data.config.study.language,
            "negative control",
            name=worst,
            estimate=effect.estimate,
            low=effect.estimate - limit * told.se,
            high=effect.estimate + limit * told.se,
        )
        data = {name: float(f"{effect.estimate:.6g}") for name, (effect, _) in tested.items()}
        return (Check("negative_control", bool(strays[worst] <= limit), strays[worst], limit, detail, data),)

    def _on(self, edge: Edge, level: str) -> tuple[Effect, Inference] | None:
        if edge.effect not in self._shared:
            panel = build_panel(self.data, edge.effect, "exposure")
            self._shared[edge.effect] = SharedNuisances(panel, self.data.config.study.seed)
        shared = self._shared[edge.effect]
        panel = shared.panel
        if edge.cause not in panel.blocks or not panel.n or bool(np.all(panel.y == panel.y[0])):
            return None
        there = [arm for arm in arms(panel, edge.cause) if arm.level == level]
        if not there:
            return None
        found = identify(self.data, edge, tuple(name for name in panel.blocks if name != edge.cause))
        effect, told = self.estimate(shared, edge, there[0], found)
        return (effect, told) if not effect.blocked and np.isfinite(told.p) else None
