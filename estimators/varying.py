r"""Effects that vary: theta(x) of one edge for each user, from the cross-fitted pieces of its average effect.

With row-level scores (AIPW) the second stage is the DR-learner, with residuals (partialling-out) the R-learner. Both
are one weighted regression of z on the users' attributes, since attributes don't change within a user:

.. math:: \min_\theta \sum_u \omega_u (z_u - \theta(x_u))^2, \quad
    \omega_u = \sum_{r \in u} w_r, \quad z_u = \sum_{r \in u} m_r / \omega_u

with moment m = score and weight w = 1 for scores, m = T̃Ỹ and w = T̃² for residuals. So one row per user is all that
a second stage needs, and no user is split between the halves of an honest tree. Every second stage is recentred: its
average over rows, weighted by w, is the edge's own estimate.

References
----------
Kennedy (2023), Electronic Journal of Statistics 17 (DR-learner); Nie and Wager (2021), Biometrika 108 (R-learner);
Athey, Tibshirani and Wager (2019), Annals of Statistics 47 (honest forests).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from whyrank.estimators.clusters import cluster_sums
from whyrank.estimators.effects import Effect

__all__ = [
    "MIN_FOREST_USERS",
    "Learner",
    "Scores",
    "SecondStage",
    "SecondStageName",
    "UserSums",
    "fit_constant",
    "fit_forest",
    "fit_linear",
    "learn_best",
    "learn_forest",
    "learn_linear",
    "learn_sparse",
    "picked_columns",
    "scores_of",
]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

SecondStageName = Literal["constant", "sparse", "linear", "forest"]
"""From the simplest on: the average; linear in the few columns that matter alone; linear in all; an honest forest."""

TREES = 400
TREES_HELD_OUT = 60
"""Trees of the forest that is kept, and of those that are only compared on held-out users."""

TREE_USERS = 2_000
"""Users that one tree is grown on, at most: cost stops growing with the log."""

FOREST_USERS = 50_000
"""Users that a forest is grown on, at most: a fixed sample of them."""

MIN_FOREST_USERS = 200
"""Users below which no forest is tried."""

LEAST_T = 2.0
"""What a column's statistic has to reach however few there are."""

LEAF = 20
"""Users in a leaf, in either honest half."""


@dataclass(frozen=True)
class Scores:
    """What second stages are regressed on, row by row, and how its errors are clustered.

    Attributes
    ----------
    moment, weight : m and w of the module's equation, shape (n,); 0 where a row doesn't count.
    square : sum of squares of what is predicted, so that losses are those of rows.
    user, n_users : user of each row, as a position among `n_users` users; not every user need have rows.
    ways : cluster codes that standard errors use, by name.
    pair : codes of the intersection.
    estimate, se, dof : the edge's own average effect.
    lost : columns adjusted for that vary from cluster to cluster, by way; each costs one cluster.
    """

    moment: Floats
    weight: Floats
    square: float
    user: Codes
    n_users: int
    ways: Mapping[str, Codes]
    pair: Codes | None
    estimate: float
    se: float
    dof: float
    lost: Mapping[str, int] = field(default_factory=dict)

    def factor(self, way: str, groups: int) -> float:
        """Return what a sum over clusters is multiplied by, as that of the edge's own standard error is."""
        return groups / max(groups - 1 - min(self.lost.get(way, 0), groups // 2), 1)

    def way_variance(self, way: str, influence: Floats) -> float:
        """Return the one-way clustered variance of a mean of influence values; `way` may be "pair"."""
        codes = self.ways[way] if way != "pair" else self.pair
        if codes is None:
            raise ValueError("two-way clustering needs the codes of the intersection")
        groups = int(np.count_nonzero(np.bincount(codes)))
        sums = cluster_sums(influence, codes)
        return float(sums @ sums) * self.factor(way, groups) / len(influence) ** 2

    def se_of(self, influence: Floats) -> float:
        """Return the clustered standard error of a mean of influence values."""
        if not self.ways:
            return float(np.sqrt(influence @ influence)) / len(influence)
        parts = [self.way_variance(way, influence) for way in self.ways]
        total = max(parts)
        if len(parts) == 2:
            total = max(sum(parts) - self.way_variance("pair", influence), total)
        return float(np.sqrt(total))

    def per_user(self, values: Floats) -> Floats:
        """Return the sum of a row-level quantity for each user, shape (n_users,)."""
        return np.bincount(self.user, weights=values, minlength=self.n_users).astype(np.float64)


def scores_of(
    effect: Effect,
    user: Codes,
    n_users: int,
    ways: Mapping[str, Codes],
    pair: Codes | None,
    *,
    se: float,
    dof: float,
    lost: Mapping[str, int] | None = None,
) -> Scores:
    """Take the scores or residuals of an effect.

    Parameters
    ----------
    effect : an effect that isn't blocked.
    user : user of each row, as a position among `n_users` users.
    ways, pair : clusters of the standard errors, and their intersection.
    se, dof : standard error of the effect, and its degrees of freedom.
    lost : columns adjusted for that vary from cluster to cluster, by way.
    """
    moment, weight = effect.scores
    of_rows = effect.y_residual if effect.pseudo is None else np.sqrt(weight) * np.nan_to_num(effect.pseudo)
    square = float(np.sum(np.where(weight > 0, of_rows, 0.0) ** 2))
    return Scores(moment, weight, square, user, n_users, ways, pair, effect.estimate, se, dof, lost or {})


@dataclass(frozen=True)
class UserSums:
    """Sums of moment and weight over the rows of each user, shape (users,)."""

    moment: Floats
    weight: Floats

    @property
    def mean(self) -> float:
        """The average effect of these users."""
        return float(self.moment.sum() / self.weight.sum())

    def loss(self, effect: Floats) -> float:
        """Return what the rows' loss has beside its constant: sum of w·theta² - 2·m·theta."""
        return float(np.sum(self.weight * effect**2 - 2.0 * self.moment * effect))


class SecondStage(Protocol):
    """theta(x), fitted."""

    @property
    def name(self) -> SecondStageName:
        """Which of them it is."""

    @property
    def importance(self) -> Floats:
        """Share of each column in how much theta(x) varies, shape (p,); they add up to 1, or are all 0."""

    def predict(self, X: Floats) -> Floats:
        """Return theta(x), shape (len(X),)."""

    def se(self, X: Floats) -> Floats:
        """Return its standard error, shape (len(X),)."""


@dataclass(frozen=True)
class Constant:
    """The same effect for everybody."""

    estimate: float
    error: float
    columns: int
    name: SecondStageName = "constant"

    @property
    def importance(self) -> Floats:
        """No column matters."""
        return np.zeros(self.columns)

    def predict(self, X: Floats) -> Floats:
        """Return the average effect for every row."""
        return np.full(len(X), self.estimate)

    def se(self, X: Floats) -> Floats:
        """Return its standard error for every row."""
        return np.full(len(X), self.error)


@dataclass(frozen=True)
class Linear:
    """theta(x) = a + b·x; `meats` are the clustered covariances of its scores, by way (`pair` among them).

    `picked` are the columns of x that it reads, out of `width`; for `reach` see `_within_reach`.
    """

    coefficients: Floats
    centre: Floats
    bread: Floats
    meats: Mapping[str, Floats]
    spread: Floats
    picked: npt.NDArray[np.intp]
    width: int
    name: SecondStageName
    reach: float = np.inf
    lift: float = 0.0

    @property
    def importance(self) -> Floats:
        """Share of each column in the sum of |b·sd(x)|."""
        size = np.zeros(self.width)
        size[self.picked] = np.abs(self.coefficients[1:]) * self.spread
        return size / total if (total := float(size.sum())) > 0 else size

    def predict(self, X: Floats) -> Floats:
        """Return theta(x)."""
        apart = (X[:, self.picked] - self.centre) @ self.coefficients[1:]
        return np.asarray(self.coefficients[0] + self.lift + _within_reach(apart, self.reach, self.se, X))

    def se(self, X: Floats) -> Floats:
        """Return the two-way clustered standard error of theta(x) for each row of X."""
        q = np.column_stack([np.ones(len(X)), X[:, self.picked] - self.centre]) @ self.bread
        parts = {way: np.einsum("ij,jk,ik->i", q, meat, q) for way, meat in self.meats.items()}
        pair = parts.pop("pair", None)
        both = np.stack(list(parts.values()))
        most = both.max(axis=0)
        return np.asarray(np.sqrt(most if pair is None else np.maximum(both.sum(axis=0) - pair, most)))


@dataclass(frozen=True)
class Forest:
    """An honest forest; `shared_variance` is what items add to the variance of the average effect.

    `centre` is the average effect; for `reach` see `_within_reach`.
    """

    forest: Any
    shift: float
    shared_variance: float
    importance: Floats
    name: SecondStageName = "forest"
    centre: float = 0.0
    reach: float = np.inf
    lift: float = 0.0

    def predict(self, X: Floats) -> Floats:
        """Return theta(x)."""
        apart = np.asarray(self.forest.predict(X)[:, 0] + self.shift - self.centre, np.float64)
        return self.centre + self.lift + _within_reach(apart, self.reach, self.se, X)

    def se(self, X: Floats) -> Floats:
        """Return the standard error by the bootstrap of little bags, with the items' part of the average added."""
        variance = np.maximum(self.forest.predict_and_var(X)[1][:, 0, 0], 0.0)
        return np.asarray(np.sqrt(variance + self.shared_variance), np.float64)


def fit_constant(scores: Scores, X: Floats) -> Constant:
    """Return the edge's own estimate as everybody's."""
    return Constant(scores.estimate, scores.se, X.shape[1])


def fit_linear(scores: Scores, X: Floats, *, sparse: bool = False) -> Linear:
    r"""Fit the linear second stage, with covariances clustered as the edge's own standard error is.

    .. math:: V = B (M_u + M_i - M_{ui}) B, \quad M_c = \frac{G}{G - 1} \sum_g S_g S_g^T, \quad
        S_g = \sum_{r \in g} z_r (m_r - w_r \theta(x_r))

    Columns are penalised by one user's worth of rows, which matters only where they are collinear; the intercept isn't,
    and columns are centred: the average of theta(x) is the edge's estimate.

    Parameters
    ----------
    scores : rows.
    X : columns of every user, shape (n_users, p).
    sparse : only columns that matter alone (see `picked_columns`); standard errors take them as given.
    """
    sums = UserSums(scores.per_user(scores.moment), scores.per_user(scores.weight))
    width = X.shape[1]
    picked = picked_columns(sums, X) if sparse else np.arange(width)
    X = X[:, picked]
    coefficients, centre, bread = _solve_linear(sums, X)
    theta = coefficients[0] + (X - centre) @ coefficients[1:]
    error = scores.moment - scores.weight * theta[scores.user]
    Z = np.column_stack([np.ones(len(X)), X - centre])
    share = sums.weight / sums.weight.sum()
    spread = np.sqrt(share @ (X - centre) ** 2)
    meats = _meats(scores, error, Z)
    name: SecondStageName = "sparse" if sparse else "linear"
    fitted = Linear(coefficients, centre, bread, meats, spread, np.arange(X.shape[1]), X.shape[1], name)
    fitted = replace(fitted, reach=_reach(fitted.se(X), share))
    lift = scores.estimate - float(share @ fitted.predict(X))
    return replace(fitted, picked=picked, width=width, lift=lift)


def _within_reach(apart: Floats, reach: float, se: Callable[[Floats], Floats], X: Floats) -> Floats:
    r"""Draw effects back to the average where hardly anybody could have had either level: by :math:`(reach / se)^2`.

    `reach` is the standard error up to which a second stage was fitted. Beyond it lie users that carry next to no
    weight: a line goes on for ever there, and a leaf averages a few scores divided by almost nothing. `lift` makes up
    for what that moves the average by.
    """
    if not np.isfinite(reach):
        return apart
    return np.asarray(apart * np.minimum(reach / np.maximum(se(X), 1e-300), 1.0) ** 2)


def _reach(se: Floats, share: Floats) -> float:
    """Return the standard error that users with 99 % of the weight don't exceed."""
    order = np.argsort(se)
    return float(se[order][min(int(np.searchsorted(np.cumsum(share[order]), 0.99)), len(se) - 1)])


def picked_columns(sums: UserSums, X: Floats) -> npt.NDArray[np.intp]:
    r"""Return the columns along which the effect differs when each is looked at alone: :math:`|t| > \sqrt{2 \log p}`.

    The largest of p statistics of columns that don't matter is about that (Donoho and Johnstone 1994, Biometrika 81).
    """
    if not X.shape[1]:
        return np.zeros(0, np.intp)
    x = X - sums.weight @ X / sums.weight.sum()
    rest = sums.moment - sums.weight * sums.mean
    spread = np.sqrt(rest**2 @ x**2)
    t = np.divide(rest @ x, spread, out=np.zeros(X.shape[1]), where=spread > 0)
    return np.flatnonzero(np.abs(t) > max(np.sqrt(2 * np.log(X.shape[1])), LEAST_T))


def _solve_linear(sums: UserSums, X: Floats) -> tuple[Floats, Floats, Floats]:
    """Return coefficients (intercept first), the columns' means, and the inverse Gram matrix."""
    total = float(sums.weight.sum())
    centre = sums.weight @ X / total
    Z = np.column_stack([np.ones(len(X)), X - centre])
    variance = sums.weight @ (X - centre) ** 2 / total
    one_user = float(sums.weight @ sums.weight) / total
    gram = (Z * sums.weight[:, None]).T @ Z
    gram[np.diag_indices_from(gram)] += np.concatenate([[0.0], one_user * np.maximum(variance, 1e-12)])
    bread = np.linalg.inv(gram)
    return np.asarray(bread @ (Z.T @ sums.moment)), centre, np.asarray(bread, np.float64)


def _meats(scores: Scores, error: Floats, Z: Floats) -> dict[str, Floats]:
    """Return the sum of outer products of the clusters' scores, for each way and for the intersection of two."""

    def of_users(sums: Floats) -> Floats:
        return np.asarray((Z * sums[:, None]).T @ Z)

    if not scores.ways:
        return {"rows": of_users(scores.per_user(error**2))}
    meats: dict[str, Floats] = {}
    for way, codes in scores.ways.items():
        groups = int(codes.max()) + 1
        grid = sparse.csr_matrix((error, (codes, scores.user)), shape=(groups, len(Z)))
        S = np.asarray(grid @ Z)
        present = len(np.unique(codes))
        meats[way] = S.T @ S * scores.factor(way, present)
    if len(meats) == 2:
        if scores.pair is None:
            raise ValueError("two-way clustering needs the codes of the intersection")
        sums = cluster_sums(error, scores.pair)
        owner = np.zeros(len(sums), np.intp)
        owner[scores.pair] = scores.user
        squares = np.bincount(owner, weights=sums**2, minlength=len(Z)).astype(np.float64)
        meats["pair"] = of_users(squares * scores.factor("pair", len(sums)))
    return meats


def fit_forest(scores: Scores, X: Floats, rng: np.random.Generator) -> Forest:
    """Fit the honest forest on one row per user, weighted by the user's rows.

    Its own variance is that of users drawn anew. Items that differ add to the errors of all users alike: what they add
    to the variance of the average effect is added to each user's.
    """
    sums = UserSums(scores.per_user(scores.moment), scores.per_user(scores.weight))
    forest = _grow(sums, X, TREES, rng, inference=True)
    raw = np.asarray(forest.predict(X)[:, 0])
    shift = scores.estimate - float(sums.weight @ raw / sums.weight.sum())
    shared = 0.0
    if "items" in scores.ways and "users" in scores.ways:
        influence = (scores.moment - scores.weight * scores.estimate) / scores.weight.mean()
        shared = max(scores.se**2 - scores.way_variance("users", influence), 0.0)
    elif "items" in scores.ways:
        shared = scores.se**2
    grown = Forest(forest, shift, shared, np.asarray(forest.feature_importances_, np.float64), centre=scores.estimate)
    share = sums.weight / sums.weight.sum()
    grown = replace(grown, reach=_reach(grown.se(X), share))
    return replace(grown, lift=scores.estimate - float(share @ grown.predict(X)))


def _grow(sums: UserSums, X: Floats, trees: int, rng: np.random.Generator, *, inference: bool) -> Any:
    from econml.grf import RegressionForest  # takes a second to import: only when effects are asked for

    rows = np.flatnonzero(sums.weight > 1e-12 * sums.weight.max())
    if len(rows) > FOREST_USERS:
        rows = np.sort(rng.choice(rows, FOREST_USERS, replace=False))
    weight = sums.weight[rows]
    forest = RegressionForest(
        n_estimators=trees,
        max_samples=min(0.45, TREE_USERS / len(rows)),
        min_samples_leaf=LEAF,
        honest=True,
        inference=inference,
        subforest_size=4,
        n_jobs=1,
        random_state=int(rng.integers(2**31)),
    )
    return forest.fit(X[rows], sums.moment[rows] / weight, sample_weight=weight / weight.mean())


Learner = Callable[[UserSums, Floats, np.random.Generator], Callable[[Floats], Floats]]
"""Learns from some users' sums and columns; returns theta(x) for others."""


def learn_linear(sums: UserSums, X: Floats, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """Learn the linear second stage, point predictions only."""
    coefficients, centre, _ = _solve_linear(sums, X)
    return lambda other: np.asarray(coefficients[0] + (other - centre) @ coefficients[1:])


def learn_sparse(sums: UserSums, X: Floats, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """Learn the linear second stage in the columns that matter alone, point predictions only."""
    picked = picked_columns(sums, X)
    linear = learn_linear(sums, X[:, picked], rng)
    return lambda other: linear(other[:, picked])


def learn_forest(sums: UserSums, X: Floats, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """Learn a small forest, point predictions only."""
    forest = _grow(sums, X, TREES_HELD_OUT, rng, inference=False)
    return lambda other: np.asarray(forest.predict(other)[:, 0], np.float64)


def learn_best(sums: UserSums, X: Floats, rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """Learn whichever predicts these users better: sparse, linear (leave-one-out) or a forest (out-of-bag).

    Sparse only counts where it picks a column: its prediction is to differ between users.
    """
    picked = picked_columns(sums, X)
    losses = {learn_linear: sums.loss(_left_out(sums, X))}
    if len(picked):
        losses[learn_sparse] = sums.loss(_left_out(sums, X[:, picked]))
    if int(np.sum(sums.weight > 0)) >= MIN_FOREST_USERS:
        forest = _grow(sums, X, TREES_HELD_OUT, rng, inference=False)
        rows = sums.weight > 1e-12 * sums.weight.max()
        known = UserSums(sums.moment[rows], sums.weight[rows])
        if known.loss(forest.oob_predict(X[rows])[:, 0]) < min(losses.values()):
            return lambda other: np.asarray(forest.predict(other)[:, 0], np.float64)
    return min(losses, key=lambda learner: losses[learner])(sums, X, rng)


def _left_out(sums: UserSums, X: Floats) -> Floats:
    """Return the linear prediction of each user by the other users, from the hat matrix."""
    coefficients, centre, bread = _solve_linear(sums, X)
    Z = np.column_stack([np.ones(len(X)), X - centre])
    hat = np.minimum(np.einsum("ij,jk,ik->i", Z, bread, Z) * sums.weight, 0.999)
    z = np.divide(sums.moment, sums.weight, out=np.zeros(len(X)), where=sums.weight > 0)
    return np.asarray(z - (z - Z @ coefficients) / (1.0 - hat))
