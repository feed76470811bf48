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
    "many levels": (
        "p = {p:.2g} alone, but q = {q:.2g} once its {count} levels are looked at together",
        "单独检验 p = {p:.2g}，但其 {count} 个水平合并考察后 q = {q:.2g}",
    ),
    "together": (
        "with all {count} levels looked at together the interval is {low:+.3g} to {high:+.3g}",
        "{count} 个水平合并考察时区间为 {low:+.3g} 至 {high:+.3g}",
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
    "would not help": (
        "more exposures of the same {unit} would hardly help",
        "对相同{unit}增加曝光几乎没有帮助",
    ),
    "would take all": (
        "one of {target:.2g} would take about {times} times as many items, users and exposures",
        "要发现 {target:.2g} 的效应，商品、用户和曝光都约需 {times} 倍",
    ),
    "would take thousands": (
        "one of {target:.2g} would take over 1,000 times as many items, users and exposures",
        "要发现 {target:.2g} 的效应，商品、用户和曝光都需一千倍以上",
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
    "open path opened": (
        ", since adjusting for {name} opens it, and leaving {name} out leaves open what it causes itself ([graph] "
        "forbidden can rule that out)",
        "，因为调整 {name} 会打开该路径，不调整则 {name} 自身的影响未被阻断（可用 [graph] forbidden 排除）",
    ),
    "open path random": (
        ", but exposures whose item was drawn at random would",
        "，但随机展示的曝光可以阻断它",
    ),
    "open path own": (
        ", and random exposures don't either: whichever item is drawn brings it along",
        "，随机展示也不能：无论抽到哪个商品，它都随商品而来",
    ),
    "weak instrument": (
        "the instrument hardly moves the cause: nothing can be told from it",
        "工具变量几乎不影响原因：无法据此判断",
    ),
    "levels and instrument": (
        "an instrument can't tell more than two levels apart: test a binary or numeric cause",
        "工具变量无法区分两个以上的水平：请检验二元或数值原因",
    ),
    "mediators determined": (
        "cause and columns determine the mediators: nothing of them varies by itself",
        "原因与调整列完全决定了中介变量：没有剩余变化",
    ),
    "no modifier": (
        "by instruments or mediators only the average effect is estimated, not how it varies",
        "通过工具变量或中介变量只能估计平均效应，而非其变化",
    ),
    "no overlap": (
        "the levels never occur where the rest is alike: no overlap",
        "在其余条件相同时两个水平从不同时出现：没有重叠",
    ),
    "namely": ("{what}: {which}", "{what}：{which}"),
    "never together": (
        "{cause} = {level} never occurs with {name} = {others}",
        "{cause} = {level} 从不与 {name} = {others} 同时出现",
    ),
    "determined": (
        "the adjustment columns determine the cause: nothing of it varies",
        "调整列完全决定了原因：没有剩余变化",
    ),
    "group lacks arm": ("a group of the modifier lacks an arm", "修饰变量的某一组缺少一个水平"),
    "modifier constant": ("the modifier doesn't vary in the rows that count", "修饰变量在有效行中没有变化"),
    "all rare": ("no level of {name} has enough rows of its own", "{name} 没有任何水平具有足够的行"),
    "constant": ("{name} does not vary in the rows that count", "{name} 在有效行中没有变化"),
    # purchases only
    "exposures unseen": (
        "exposures were not observed: what was available may not have been seen",
        "曝光未被观测：可购买的商品不一定被看到",
    ),
    "alternatives": (
        "{count} alternatives were drawn at random for each purchase from what was available",
        "为每次购买从当时可购买的商品中随机抽取了 {count} 个备选",
    ),
    "all alternatives": (
        "each purchase is compared with everything else that was available",
        "每次购买都与当时可购买的其他全部商品比较",
    ),
    "purchases drawn": (
        "on {drawn:,} of {purchases:,} purchases, drawn at random",
        "基于从 {purchases:,} 次购买中随机抽取的 {drawn:,} 次",
    ),
    "outside dates": (
        "{count:,} purchases are of items outside their dates and count as available",
        "{count:,} 次购买的商品不在其上架日期内，视为可购买",
    ),
    "no alternative": (
        "{count:,} purchases are left out: nothing else was available",
        "{count:,} 次购买被略去：没有其他可购买的商品",
    ),
    "cancels": (
        "a log of purchases can't tell: {name} is the same whatever is chosen, so it cancels",
        "仅有购买记录时无法判断：无论选择什么，{name} 都相同，因而抵消",
    ),
    "bought context": (
        "a log of purchases can't tell: {name} is known only for what was bought",
        "仅有购买记录时无法判断：{name} 只对已购买的商品已知",
    ),
    "bought rows only": (
        "a log of purchases can't tell: {name} is known only for what was bought",
        "仅有购买记录时无法判断：{name} 只对已购买的商品已知",
    ),
    "never bought": (
        "{level} was bought fewer than {count} times: there is nothing to compare",
        "{level} 的购买次数少于 {count}：无从比较",
    ),
    "purchase": ("purchase", "次购买"),
    "purchases": ("purchases", "次购买"),
    "never bought by": (
        "{level} was bought fewer than {count} times by {group}: there is nothing to compare",
        "{group} 购买 {level} 的次数少于 {count}：无从比较",
    ),
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
    "placebo turned": (
        "with the cause turned round at random for whole users and items the effect is {centre:+.2g} on average and "
        "within ±{limit:.2g} in 95 % of {draws} draws",
        "按整个用户和商品随机翻转原因后，{draws} 次抽取的平均效应为 {centre:+.2g}，95 % 落在 ±{limit:.2g} 之内",
    ),
    "bootstrap": (
        "re-weighing whole clusters {draws} times, the effect spreads {wider:.2f} times as wide as its standard error",
        "对整个聚类重新加权 {draws} 次，效应的离散程度为其标准误的 {wider:.2f} 倍",
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
    "negative control": (
        "on {name}, which it can't affect, it comes out as {estimate:+.2g} ({low:+.2g} to {high:+.2g})",
        "对它不可能影响的 {name}，估计为 {estimate:+.2g}（{low:+.2g} 至 {high:+.2g}）",
    ),
    "e value": (", E-value {value:.2f}", "，E 值 {value:.2f}"),
    "e value of a step": (
        ", E-value {value:.2f} for one standard deviation of the cause",
        "，原因变动一个标准差的 E 值为 {value:.2f}",
    ),
    "audit": (
        "on {rows:,} rows DoWhy finds {dowhy:+.3g} and EconML {econml:+.3g} (difference of {tolerance:.2g} allowed), "
        "DoWhy's placebo {placebo:+.2g}, random common cause {moved:+.3g}",
        "在 {rows:,} 行上 DoWhy 得 {dowhy:+.3g}，EconML 得 {econml:+.3g}（允许相差 {tolerance:.2g}），"
        "DoWhy 的安慰剂 {placebo:+.2g}，随机共同原因 {moved:+.3g}",
    ),
    # warnings
    "pooled": ("{count} rare levels of {name} are pooled", "{name} 的 {count} 个罕见水平已合并"),
    "heavy tail": (
        "{top:.0%} of the rows carry {share:.0%} of the outcome: its mean, and what moves it, hang on few of them",
        "{top:.0%} 的行占结果的 {share:.0%}：其均值及影响因素取决于少数几行",
    ),
    "winsorised": (
        "{count:,} outcomes beyond the {quantile:.2%} quantile are set to it, so this is not the effect on their mean",
        "{count:,} 个超出 {quantile:.2%} 分位数的结果被设为该分位数，因此这不是对其均值的效应",
    ),
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
        "rows are weighted by the logged propensities, as if items had been drawn at random: worth {ess:,.0f} rows "
        "({share:.0%})",
        "按记录的倾向得分对行加权，如同商品随机展示：相当于 {ess:,.0f} 行（{share:.0%}）",
    ),
    "propensity of items": (
        "the logged propensities say how items were chosen, which doesn't help with {name}: measured columns are "
        "adjusted for",
        "记录的倾向得分只说明商品如何被选择，对 {name} 没有帮助：改为调整已测列",
    ),
    "clipped": (
        "{count:,} weights above {cap:.3g} times the mean are clipped, which takes away {lost:.1%} of the weight",
        "{count:,} 个超过均值 {cap:.3g} 倍的权重被截断，去掉了总权重的 {lost:.1%}",
    ),
    "weights off": (
        "over the items the propensities seem to add up to {total:.3g} instead of 1: several items are shown at a "
        "time, some could not be shown, or they aren't those of the rows",
        "倾向得分对全部商品之和约为 {total:.3g} 而不是 1：每次展示多个商品，有些商品不可能被展示，或倾向得分与各行不符",
    ),
    "closed by weights": (
        "the path {path} is closed by the logged propensities",
        "路径 {path} 由记录的倾向得分阻断",
    ),
    "slice agrees": (
        "on the {rows:,} exposures whose item was drawn at random it is {slice:+.3g}, {apart:.1f} joint standard "
        "errors away",
        "在随机展示的 {rows:,} 次曝光上为 {slice:+.3g}，相差 {apart:.1f} 个联合标准误",
    ),
    "selection weighted": (
        "rows are weighted by the estimated propensities to the power {power:g} (worth {ess:,.0f} rows): that predicts "
        "outcomes nearer to all pairs better, by {gain:.1%} of the loss ± {se:.1%} (unweighted: {other:+.3g})",
        "按估计倾向得分的 {power:g} 次幂对行加权（相当于 {ess:,.0f} 行）：对更接近全部配对的结果预测更好，"
        "损失降低 {gain:.1%} ± {se:.1%}（未加权：{other:+.3g}）",
    ),
    "selection unweighted": (
        "speaks of pairs like those in the log: weights from the estimated propensities don't predict better out of "
        "sample, by {gain:+.1%} of the loss ± {se:.1%} (weighted: {other:+.3g})",
        "仅针对与日志中类似的配对：由估计倾向得分得到的权重在样本外没有更好的预测，损失变化 {gain:+.1%} ± {se:.1%}"
        "（加权：{other:+.3g}）",
    ),
    "slice": (
        "estimated on the {rows:,} exposures whose item was drawn at random (all rows: {other:+.3g})",
        "仅用随机展示的 {rows:,} 次曝光估计（全部行：{other:+.3g}）",
    ),
    "trusted": (
        "not adjusted for, because declared to follow from unmeasured causes with nothing declared to follow from "
        "them: {names}. That takes for granted that they confound nothing themselves",
        "未调整 {names}：已声明它们由未测原因引起，且未声明它们引起其他变量，这以它们自身不造成混杂为前提",
    ),
    "granted": (
        "takes for granted that {names} decides who is shown what and isn't a property of the item itself (else name "
        "it with items.)",
        "以 {names} 决定谁看到什么、而不是商品自身的属性为前提（否则请以 items. 命名）",
    ),
    "by instruments": (
        "the path {path} stays open, so the effect is told from what {names} moves of the cause: an average over those "
        "exposures whose cause follows it, and true only if it acts on the outcome in no other way",
        "路径 {path} 未被阻断，因此由 {names} 引起的原因变化来估计效应："
        "仅对随其变化的曝光取平均，且仅当它不以其他方式影响结果时成立",
    ),
    "by mediators": (
        "the path {path} stays open, so the effect is told from what goes through {names}: true only if the cause acts "
        "in no other way, and nothing unmeasured confounds them",
        "路径 {path} 未被阻断，因此由经过 {names} 的部分来估计效应："
        "仅当原因不以其他方式起作用、且它们没有未测混杂时成立",
    ),
    "overlap instrument": (
        "the instrument moves {share:.1%} of what the columns leave of the cause's variance",
        "在调整列之外，工具变量解释原因方差的 {share:.1%}",
    ),
    "overlap mediators": (
        "{share:.0%} of the variance of cause and mediators is not explained by what comes before them",
        "原因与中介变量的方差有 {share:.0%} 未被此前的变量解释",
    ),
    "strength": (
        "the instrument's first stage has an effective F of {f:.1f} (at least {least:g} is needed)",
        "工具变量第一阶段的有效 F 为 {f:.1f}（至少需要 {least:g}）",
    ),
    "reduced": (
        "whether the instrument moves the outcome at all, however weak it is: p = {p:.2g}",
        "无论强弱，工具变量是否影响结果：p = {p:.2g}",
    ),
    "one instrument": (
        "one instrument can't contradict itself",
        "只有一个工具变量，无从相互印证",
    ),
    "agreement": (
        "whether the instruments tell the same effect: p = {p:.2g}",
        "各工具变量给出的效应是否一致：p = {p:.2g}",
    ),
    "exclusion": (
        "it rests on {names} acting on the outcome through the cause alone, which a proposer suggested and nobody "
        "confirmed",
        "它以 {names} 仅通过原因影响结果为前提，这是提出者的建议，无人确认",
    ),
    "confirm": (
        ' (to confirm: [graph] edges = ["{name} -> {cause}"], forbidden = ["{name} -> {effect}"])',
        '（确认方式：[graph] edges = ["{name} -> {cause}"]，forbidden = ["{name} -> {effect}"]）',
    ),
    "not for this strategy": ("doesn't apply to this way of telling the effect", "不适用于这种估计方式"),
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
