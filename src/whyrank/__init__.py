"""WhyRank: rank by cause, not by correlation.

A language model proposes which attributes of users and items cause behaviour, the behaviour log decides, and only
validated effects move a ranking::

    import whyrank

    study = whyrank.open("shop/whyrank.toml")
    study.run()
    study.verdicts()
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

from whyrank.errors import WhyRankError, WhyRankWarning

if TYPE_CHECKING:
    from whyrank.estimators.many import estimate_many
    from whyrank.study import Study
    from whyrank.study import open_study as open

__all__ = ["Study", "WhyRankError", "WhyRankWarning", "__version__", "estimate_many", "open"]

__version__ = metadata.version("whyrank")


def __getattr__(name: str) -> Any:  # pandas and the rooms take a second to import: `whyrank --help` shouldn't wait
    if name in ("Study", "open"):
        from whyrank import study

        return study.Study if name == "Study" else study.open_study
    if name == "estimate_many":
        from whyrank.estimators.many import estimate_many

        return estimate_many
    raise AttributeError(f"module 'whyrank' has no attribute {name!r}")
