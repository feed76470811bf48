"""Study tables in: schema and checks, typed attributes, logs with known effects."""

from __future__ import annotations

from whyrank.datasets.init import infer_study, write_study
from whyrank.datasets.load import check_study, load_study
from whyrank.datasets.study_data import Attribute, Finding, Kind, Outcome, Role, StudyData, Table

__all__ = [
    "Attribute",
    "Finding",
    "Kind",
    "Outcome",
    "Role",
    "StudyData",
    "Table",
    "check_study",
    "infer_study",
    "load_study",
    "write_study",
]
