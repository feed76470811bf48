"""The ledger: every run, call, hypothesis, estimate, check and verdict, written once and never changed."""

from __future__ import annotations

from whyrank.ledger.store import Ledger, Run, VerdictSet

__all__ = ["Ledger", "Run", "VerdictSet"]
