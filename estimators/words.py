"""The sentences of verdicts and gates, in the languages that a study may have."""

from __future__ import annotations

from typing import Literal

__all__ = ["Language", "say"]

Language = Literal["en", "zh"]

_SENTENCES: dict[str, tuple[str, str]] = {
    # verdicts
    "validated": (
        "{way} it, adjusted for {adjusted} (unadjusted {naive:+.3g})",
        "调整{adjusted}之后仍然{way}（未调整 {naive:+.3g}）",
    ),
    "columns": ("{count} columns", "{count} 列"),
    "columns and identities": (
        "{count} columns and {identities}",
        "{count} 列以及{identities}",
    ),
    "and": (" and ", "与"),
    "each of items": ("each item", "每个商品"),
    "each of users": ("each user", "每个用户"),
    "not refuted": ("no attempt to refute it succeeded", "所有反驳尝试均未成功"),
    "other sign": (
        "claimed that it {claimed} it, but the data say that it {way} it: {interval}",
        "提出者认为它{claimed}，而数据表明它{way}：{interval}",
    ),
    "equivalent": (
        "the effect lies within ±{smallest:g}, the smallest of interest: {interval}",
        "效应落在最小关注值 ±{smallest:g} 之内：{interval}",
    ),
    "seen": ("an effect of {interval} was seen", "观察到效应 {interval}"),
    "but": ("but {why}", "但是{why}"),
    "naive": (
        "looks like {naive:+.3g}, but adjusting for {adjusted} takes that away",
        "未调整时看似 {naive:+.3g}，但调整{adjusted}之后不复存在",
    ),
    "many tests": (
        "p = {p:.2g} alone, but q = {q:.2g} once all tests of the run are counted",
        "单独检验 p = {p:.2g}，但计入本次全部检验后 q = {q:.2g}",
    ),
    "no telling": ("can't be told from zero", "无法与零区分"),
    "few": (
        "only {count} {what} carry it: too few to speak of others like them",
        "只有 {count} 个{what}具有该特征：太少，无法推及同类",
    ),
    "no error": (
        "how sure it is can't be told: all rows belong to one user or item",
        "无法判断其误差：所有行都属于同一用户或商品",
    ),
    "could find": ("this log can find effects of {found:.2g} and more", "此日志可发现 {found:.2g} 及以上的效应"),
    "would take": (
        "one of {target:.2g} would take about {need} {unit} (there are {have:,})",
        "要发现 {target:.2g} 的效应约需 {need} {unit}（现有 {have:,}）",
    ),
    "many times": ("over 1,000 times as many", "一千倍以上的"),
    "interval": (
        "{estimate:+.3g} (95 % interval {low:+.3g} to {high:+.3g})",
        "{estimate:+.3g}（95 % 区间 {low:+.3g} 至 {high:+.3g}）",
    ),
    "raises": ("raises", "提高结果"),
    "lowers": ("lowers", "降低结果"),
    "items": ("items", "商品"),
    "users": ("users", "用户"),
    "exposures": ("exposures", "次曝光"),
    "users or items": ("users or items", "用户或商品"),
    # what blocks an effect
    "open path": (
        "the path {path} stays open: nothing measured closes it",
        "路径 {path} 未被阻断：没有已测变量能阻断它",
    ),
    "no overlap": (
        "the levels never occur where the rest is alike: no overlap",
        "在其余条件相同时两个水平从不同时出现：没有重叠",
    ),
    "determined": (
        "the adjustment columns determine the cause: nothing of it varies",
        "调整列完全决定了原因：没有剩余变化",
    ),
    "group lacks arm": ("a group of the modifier lacks an arm", "修饰变量的某一组缺少一个水平"),
    "modifier constant": ("the modifier doesn't vary in the rows that count", "修饰变量在有效行中没有变化"),
    "all rare": ("no level of {name} has enough rows of its own", "{name} 没有任何水平具有足够的行"),
    "constant": ("{name} does not vary in the rows that count", "{name} 在有效行中没有变化"),
    # gates
    "overlap": ("{share:.0%} of rows could have had either level", "{share:.0%} 的行可能处于任一水平"),
    "overlap numeric": (
        "{share:.0%} of the cause's variance is not explained by the columns adjusted for",
        "原因的方差有 {share:.0%} 未被调整列解释",
    ),
    "placebo": (
        "with the cause shuffled the effect is {centre:+.2g} on average and within ±{limit:.2g} in 95 % of "
        "{draws} draws",
        "打乱原因后，{draws} 次抽取的平均效应为 {centre:+.2g}，95 % 落在 ±{limit:.2g} 之内",
    ),
    "placebo modifier": (
        "with the modifier shuffled the difference is {centre:+.2g} on average and within ±{limit:.2g} in 95 % of "
        "{draws} draws",
        "打乱修饰变量后，{draws} 次抽取的平均差异为 {centre:+.2g}，95 % 落在 ±{limit:.2g} 之内",
    ),
    "random common cause": (
        "adjusting for a random column moves the effect by {shift:.2f} standard errors",
        "调整一个随机列使效应移动 {shift:.2f} 个标准误",
    ),
    "subset": (
        "without a random fifth of the clusters the sign is the same in {same:.0%} of {draws} draws",
        "随机去掉五分之一的聚类后，{draws} 次中符号相同的占 {same:.0%}",
    ),
    "leave one out": (
        "without the one {what} that matters most {left:.0%} of the effect is left",
        "去掉影响最大的一个{what}后，效应剩余 {left:.0%}",
    ),
    "user": ("user", "用户"),
    "item": ("item", "商品"),
    "cluster": ("cluster", "聚类"),
    "sensitivity": (
        "an unmeasured cause as strong as {strongest} would move the effect by {bias:.2g}, {less} than the effect "
        "(robustness value {value:.1%})",
        "与 {strongest} 同样强的未测原因会使效应移动 {bias:.2g}，{less}效应本身（稳健值 {value:.1%}）",
    ),
    "less": ("less", "小于"),
    "not less": ("not less", "不小于"),
    "sensitivity alone": (
        "no measured column to compare with (robustness value {value:.1%})",
        "没有可比较的已测列（稳健值 {value:.1%}）",
    ),
    "audit": (
        "on {rows:,} rows DoWhy finds {dowhy:+.3g} and EconML {econml:+.3g} (difference of {tolerance:.2g} allowed), "
        "DoWhy's placebo {placebo:+.2g}, random common cause {moved:+.3g}",
        "在 {rows:,} 行上 DoWhy 得 {dowhy:+.3g}，EconML 得 {econml:+.3g}（允许相差 {tolerance:.2g}），"
        "DoWhy 的安慰剂 {placebo:+.2g}，随机共同原因 {moved:+.3g}",
    ),
    # warnings
    "pooled": ("{count} rare levels of {name} are pooled", "{name} 的 {count} 个罕见水平已合并"),
    "descendants": (
        "not adjusted for, because declared to follow from the cause: {names}",
        "未调整，因为已声明它们是该原因的后果：{names}",
    ),
    "these items": ("speaks of the items in this log only", "仅针对此日志中的商品"),
    "estimated propensity": (
        "the propensities were estimated, not logged: measured columns are adjusted for instead",
        "倾向得分是估计的而非记录的：改为调整已测列",
    ),
    "logged propensity": (
        "logged propensities are not used by this version: measured columns are adjusted for instead",
        "此版本不使用记录的倾向得分：改为调整已测列",
    ),
    "slice": (
        "estimated on the {rows:,} exposures whose item was drawn at random (all rows: {other:+.3g})",
        "仅用随机展示的 {rows:,} 次曝光估计（全部行：{other:+.3g}）",
    ),
    "slice alone": (
        "estimated on the {rows:,} exposures whose item was drawn at random (on all rows it can't be identified)",
        "仅用随机展示的 {rows:,} 次曝光估计（在全部行上无法识别）",
    ),
}


def say(language: Language, sentence: str, /, **told: object) -> str:
    """Return a sentence in the language of the study.

    Parameters
    ----------
    language : "en" or "zh".
    sentence : its name.
    told : what it tells.
    """
    return _SENTENCES[sentence][0 if language == "en" else 1].format(**told)
