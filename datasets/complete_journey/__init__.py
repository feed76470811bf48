"""Complete Journey, a public year of grocery shopping, as a study: what makes households buy?"""

from whyrank.datasets.complete_journey.write import TERMS, write_complete_journey

__all__ = ["TERMS", "write_complete_journey"]
