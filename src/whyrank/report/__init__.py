"""The report: one self-contained HTML file with the causal map, the verdicts and the evidence behind each."""

from whyrank.report.content import (
    CallLike,
    DataSummary,
    NamedThing,
    RecommendedItem,
    ReportContent,
    SampleRecommendation,
)
from whyrank.report.write import write_report

__all__ = [
    "CallLike",
    "DataSummary",
    "NamedThing",
    "RecommendedItem",
    "ReportContent",
    "SampleRecommendation",
    "write_report",
]
