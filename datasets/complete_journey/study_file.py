"""The study file of Complete Journey."""

from __future__ import annotations

import json

from whyrank.datasets.complete_journey.tables import AGES, INCOMES, KIDS, SIZES

__all__ = ["study_file"]

_TEXT = """\
# Complete Journey: what makes households buy a product category in a week they shop?
#
# One row of events.parquet is one household x one week in which it shopped x one category; `bought` tells whether
# the category was in the basket at the household's main store. Displays and mailers are those of that store in that
# week; price cuts, prices and all attributes of categories come from other households' purchases.
# The data's publisher calls the data simulated, after real grocery patterns, for learning and teaching only.

[study]
name = "complete journey"
seed = {seed}
language = "en"

[users]                             # households with demographics
path = "users.csv"
key = "household_id"

[items]                             # product categories
path = "items.csv"
key = "category_id"
text = ["title", "description"]

[events]
path = "events.parquet"
user = "household_id"
item = "category_id"
time = "week_of"                    # Monday of the week
outcomes = ["bought"]
context = ["display", "mailer", "price_cut", "month"]

[validation]
fdr = 0.05
audit = true

[ranker]
base = "popularity"
exclude_seen = true                 # recommends categories the household didn't buy in the weeks drawn

[attributes."users.age"]
kind = "ordinal"
levels = {ages}
description = "age group of the head of the household"

[attributes."users.income"]
kind = "ordinal"
levels = {incomes}
description = "yearly income of the household in USD"

[attributes."users.adults"]
kind = "binary"
description = "adults in the household, one or two"

[attributes."users.kids"]
kind = "ordinal"
levels = {kids}
description = "number of children in the household"

[attributes."users.household_size"]
kind = "ordinal"
levels = {sizes}
role = "ignore"                     # adults and kids together, which are tested themselves
description = "persons in the household"

[attributes."users.marital_status"]
kind = "binary"
description = "whether the head of the household is married; unknown for one in six"

[attributes."users.home_ownership"]
kind = "binary"
description = "whether the household owns or rents its home; unknown for three in ten"

[attributes."items.aisle"]
kind = "categorical"
description = "part of the store where the category is sold"

[attributes."items.typical_price"]
kind = "numeric"
description = "median shelf price of one pack in USD, before discounts"

[attributes."items.private_label"]
kind = "numeric"
description = "share of the category's sales that goes to the store's own brands, 0 to 1"

[attributes."items.assortment"]
kind = "numeric"
role = "confounder"                 # how large a category is: shops stock more of what sells, so it is no cause to test
description = "different products sold in the category over the year, in hundreds"

[attributes."events.display"]
kind = "binary"
description = "products with a tenth or more of the category's usual sales stood on display in the store that week"

[attributes."events.mailer"]
kind = "binary"
description = "products with a tenth or more of the category's usual sales were in the store's mailer that week"

[attributes."events.price_cut"]
kind = "binary"
description = "products with half or more of the category's usual sales were sold at a reduced price that week"

[attributes."events.month"]
kind = "categorical"
role = "confounder"                 # promotions and appetites both follow the season
description = "month of the year"
"""


def study_file(seed: int) -> str:
    """Return the text of `whyrank.toml`."""
    lists = {"ages": AGES, "incomes": INCOMES, "kids": KIDS, "sizes": SIZES}
    return _TEXT.format(seed=seed, **{name: json.dumps(levels) for name, levels in lists.items()})
