"""Readable names: the data's categories, product types and departments in plain English."""

from __future__ import annotations

__all__ = ["aisle", "category_name", "type_name"]

_CATEGORIES: dict[str, str] = {
    "BABY HBC": "Baby care",
    "BAG SNACKS": "Chips and bagged snacks",
    "BAKED BREAD/BUNS/ROLLS": "Packaged bread, buns and rolls",
    "BAKED SWEET GOODS": "Packaged cakes and doughnuts",
    "BATH": "Bath products",
    "BATH TISSUES": "Toilet paper",
    "BEANS - CANNED GLASS & MW": "Canned beans",
    "BEEF": "Fresh beef",
    "BREAD": "Bakery bread",
    "BREAKFAST SAUSAGE/SANDWICHES": "Breakfast sausage and sandwiches",
    "BREAKFAST SWEETS": "Bakery doughnuts, muffins and sweet rolls",
    "CAKES": "Bakery cakes",
    "CANDY - CHECKLANE": "Candy bars and gum at the checkout",
    "CANDY - PACKAGED": "Packaged candy",
    "CANNED JUICES": "Shelf-stable juices",
    "CHEESE": "Packaged cheese",
    "CHEESES": "Deli cheese",
    "CHICKEN": "Fresh chicken",
    "CHICKEN/POULTRY": "Deli chicken, hot and ready",
    "COLD AND FLU": "Cold and flu medicine",
    "CONDIMENTS/SAUCES": "Ketchup, barbecue and hot sauces",
    "CONVENIENT BRKFST/WHLSM SNACKS": "Toaster pastries, granola bars and fruit snacks",
    "COOKIES": "Bakery cookies",
    "COOKIES/CONES": "Packaged cookies and cones",
    "CORN": "Fresh corn",
    "CRACKERS/MISC BKD FD": "Crackers",
    "DELI MEATS": "Deli meats",
    "DINNER MXS:DRY": "Dry dinner mixes",
    "DISHWASH DETERGENTS": "Dish detergents",
    "DOG FOODS": "Dog food",
    "DRY BN/VEG/POTATO/RICE": "Rice, dry beans and potato mixes",
    "DRY MIX DESSERTS": "Pudding and gelatin",
    "DRY SAUCES/GRAVY": "Gravy and sauce mixes",
    "ELECTRICAL SUPPPLIES": "Light bulbs and electrical supplies",
    "FACIAL TISS/DNR NAPKIN": "Facial tissues and napkins",
    "FD WRAPS/BAGS/TRSH BG": "Food wraps and trash bags",
    "FLUID MILK PRODUCTS": "Milk and creamers",
    "FROZEN MEAT": "Frozen breaded chicken and burgers",
    "FRUIT - SHELF STABLE": "Canned fruit and fruit cups",
    "FRZN ICE": "Bagged ice",
    "FRZN JCE CONC/DRNKS": "Frozen juice concentrate",
    "FRZN MEAT/MEAT DINNERS": "Frozen dinners and entrees",
    "FRZN NOVELTIES/WTR ICE": "Ice pops and frozen novelties",
    "FRZN POTATOES": "Frozen potatoes",
    "FRZN VEGETABLE/VEG DSH": "Frozen vegetables",
    "GREETING CARDS/WRAP/PARTY SPLY": "Greeting cards, gift wrap and party supplies",
    "HAND/BODY/FACIAL PRODUCTS": "Skin care",
    "HEAT/SERVE": "Heat-and-serve meat dishes",
    "HISPANIC": "Mexican and Hispanic foods",
    "HOUSEHOLD CLEANG NEEDS": "Household cleaners",
    "ICE CREAM/MILK/SHERBTS": "Ice cream and sherbet",
    "ISOTONIC DRINKS": "Sports drinks",
    "J-HOOKS": "Small hanging goods",
    "MAKEUP AND TREATMENT": "Makeup",
    "MARGARINES": "Margarine",
    "MEAT - MISC": "Frozen chicken pieces and patties",
    "MEAT - SHELF STABLE": "Canned pasta, chili and meat",
    "MILK BY-PRODUCTS": "Sour cream, cottage cheese and dips",
    "MISC. DAIRY": "Refrigerated pudding, pasta and tortillas",
    "MOLASSES/SYRUP/PANCAKE MIXS": "Syrup and pancake mix",
    "ORGANICS FRUIT & VEGETABLES": "Organic fruit and vegetables",
    "PAPER HOUSEWARES": "Paper and plastic tableware",
    "PEPPERS-ALL": "Peppers",
    "PICKLE/RELISH/PKLD VEG": "Pickles and relish",
    "PNT BTR/JELLY/JAMS": "Peanut butter, jelly and jam",
    "POPCORN": "Microwave popcorn",
    "PORK": "Fresh pork",
    "PREPARED FOOD": "Deli prepared meals",
    "PWDR/CRYSTL DRNK MX": "Powdered drink mixes",
    "REFRGRATD DOUGH PRODUCTS": "Refrigerated dough",
    "REFRGRATD JUICES/DRNKS": "Refrigerated juices and drinks",
    "ROLLS": "Bakery rolls",
    "SALAD BAR": "Salad bar",
    "SALADS/DIPS": "Deli salads and dips",
    "SALD DRSNG/SNDWCH SPRD": "Salad dressing and mayonnaise",
    "SEAFOOD - FROZEN": "Frozen seafood",
    "SEAFOOD - SHELF STABLE": "Canned tuna and seafood",
    "SEAFOOD-FRESH": "Fresh seafood",
    "SHORTENING/OIL": "Cooking oil and shortening",
    "SNACK NUTS": "Nuts for snacking",
    "SOAP - LIQUID & BAR": "Soap and body wash",
    "SUGARS/SWEETNERS": "Sugar and sweeteners",
    "TROPICAL FRUIT": "Bananas and tropical fruit",
    "TURKEY": "Fresh turkey",
    "VALUE ADDED FRUIT": "Cut fruit",
    "VALUE ADDED VEGETABLES": "Cut vegetables",
    "VEGETABLES - ALL OTHERS": "Other fresh vegetables",
    "VEGETABLES - SHELF STABLE": "Canned vegetables and tomatoes",
    "VEGETABLES SALAD": "Lettuce and spinach",
    "WAREHOUSE SNACKS": "Snack mixes, canister chips and meat snacks",
    "WATER - CARBONATED/FLVRD DRINK": "Bottled and flavored water",
}

_WORDS: dict[str, str] = {
    "ADDED": "added",
    "BAGS-CHOCOCLATE": "chocolate bags",
    "BAGS-CHOCOLATE": "chocolate bags",
    "BAGS-NON": "bags without",
    "BBQ": "barbecue",
    "BKD": "baked",
    "BN": "beans",
    "BRD": "breaded",
    "BTL": "bottles",
    "CAN": "cans",
    "CARB": "carbonated",
    "CATFD": "cat food",
    "CHIX": "chicken",
    "CHOC": "chocolate",
    "CND": "canned",
    "CNTR": "counter",
    "CRMD": "creamed",
    "CRTD": "carbonated",
    "CTLRYTBLCLTHSTTHPKSST": "cutlery and tablecloths",
    "DNRS": "dinners",
    "DPS-PRPCK": "prepacked dips",
    "DRNK": "drink",
    "DRNKING": "drinking",
    "DRNKNG": "drinking",
    "DRNKS": "drinks",
    "FD": "food",
    "FEM": "feminine",
    "FEM.": "feminine",
    "FINFISH-OTHER": "fish",
    "FLVRD": "flavored",
    "FLVRD/MNRL": "flavored mineral",
    "FRD": "fried",
    "FRZN": "frozen",
    "FS": "",
    "GDS": "goods",
    "GRND": "ground",
    "HYDROCORTIZONE": "hydrocortisone",
    "HYGN": "hygiene",
    "HYGN.": "hygiene",
    "HYGN.NAPKINS": "hygiene napkins",
    "INCL": "",
    "INCLDE": "included",
    "IQF": "individually frozen",
    "IWS": "individually wrapped",
    "JCE": "juice",
    "LINAMENTS": "liniments",
    "LOZNG-DRP": "lozenges",
    "LSS": "less",
    "MISC": "other",
    "MISC.": "other",
    "MISC.CND": "other canned",
    "MLK": "milk",
    "MLT-PK": "multi-pack",
    "MNERAL": "mineral",
    "MNRL": "mineral",
    "MXS": "mixes",
    "N/A": "non-aerosol",
    "NON-CRBNTD": "non-carbonated",
    "OJ": "orange juice",
    "PICKLD": "pickled",
    "PK": "pack",
    "PLSTC": "plastic",
    "PNCH": "punch",
    "PREM": "premium",
    "PREP": "prepared",
    "PREPACK": "prepacked",
    "PREPORTND": "in portions",
    "PROTIEN": "protein",
    "PRPCK": "prepacked",
    "PRTN": "portion",
    "PWDRS": "powders",
    "QSR": "quick-service",
    "RECHARABLE": "rechargeable",
    "REFIGERATED": "refrigerated",
    "REFRGRATD": "refrigerated",
    "REFRIG": "refrigerated",
    "RTS": "ready-to-serve",
    "RW": "",
    "SAL": "salads",
    "SAUS": "sausage",
    "SEAFOOD-FRE-CATFISH": "fresh catfish",
    "SEAFOOD-FRE-NON": "fresh other",
    "SEAFOOD-FRE-RAW": "fresh raw",
    "SEAFOOD-FRE-SALMON": "fresh salmon",
    "SEAFOOD-FRZ-IQF": "individually frozen seafood",
    "SEAFOOD-FRZ-RAW": "frozen raw seafood",
    "SEAFOOD-FRZ-RW-ALL": "frozen raw seafood",
    "SFT": "soft",
    "SINGL": "single",
    "SNGL": "single",
    "SPECILATY": "specialty",
    "SRV": "serve",
    "SS": "single-serve",
    "STK": "stick",
    "SUBS": "substitutes",
    "SUP": "super",
    "SW": "sweet",
    "SYRP": "syrup",
    "THN": "than",
    "TORT": "tortilla",
    "VAC": "vacuum",
    "VEG": "vegetables",
    "WATE": "water",
    "WHL": "whole",
    "WORCHESTER": "Worcestershire",
    "WT": "weight",
    "XPCTRNT": "expectorant",
}

_AISLES: dict[str, str] = {
    "COSMETICS": "drugstore",
    "DRUG GM": "drugstore",
    "GROCERY": "pantry",
    "MEAT": "meat and seafood",
    "MEAT-PCKGD": "meat and seafood",
    "SEAFOOD": "meat and seafood",
    "SEAFOOD-PCKGD": "meat and seafood",
    "PRODUCE": "produce",
}
_DAIRY = frozenset(
    {
        "BUTTER", "CHEESE", "EGGS", "FLUID MILK PRODUCTS", "MARGARINES", "MILK BY-PRODUCTS", "MISC. DAIRY",
        "REFRGRATD DOUGH PRODUCTS", "REFRGRATD JUICES/DRNKS", "REFRIGERATED", "YOGURT",
    }
)  # fmt: skip
_FROZEN = frozenset({"ICE CREAM/MILK/SHERBTS", "MEAT - MISC"})
_HOUSEHOLD = frozenset(
    {
        "AIR CARE", "BATH TISSUES", "BLEACH", "CAT FOOD", "CAT LITTER", "DISHWASH DETERGENTS", "DOG FOODS",
        "FACIAL TISS/DNR NAPKIN", "FD WRAPS/BAGS/TRSH BG", "HOUSEHOLD CLEANG NEEDS", "LAUNDRY ADDITIVES",
        "LAUNDRY DETERGENTS", "PAPER HOUSEWARES", "PAPER TOWELS", "PET CARE SUPPLIES",
    }
)  # fmt: skip
_CUT_AT = 30


def category_name(category: str) -> str:
    """Return a plain name for a product category.

    Examples
    --------
    >>> category_name("PNT BTR/JELLY/JAMS")
    'Peanut butter, jelly and jam'
    >>> category_name("FROZEN PIE/DESSERTS")
    'Frozen pie and desserts'
    """
    return _CATEGORIES.get(category) or type_name(category).capitalize()


def type_name(text: str) -> str:
    """Return a product type in lower case, without what its brackets hold and with common short forms spelled out.

    The data cuts types at 30 characters; the last word of those is left away.

    Examples
    --------
    >>> type_name("POTATOES RUSSET (BULK&BAG)")
    'potatoes russet'
    >>> type_name("FRZN FRUIT PIES  & COBBLERS")
    'frozen fruit pies and cobblers'
    >>> type_name("BABY ANTIBIOTIC OINTMENTS & CR")
    'baby antibiotic ointments'
    """
    head, bracket, _ = text.partition("(")
    plain = (
        head.replace(" W/", " with ").replace("&", " and ").replace("/", " and ").replace(":", " ").replace(",", " ")
    )
    words = [stripped for word in plain.split() if (stripped := word.strip("-"))]
    if len(text) >= _CUT_AT and not bracket and len(words) > 1:
        words.pop()
    while words and words[-1] == "and":
        words.pop()
    spelled = (_WORDS.get(word, word.lower()) for word in words)
    return " ".join(word for word in spelled if word)


def aisle(category: str, department: str) -> str:
    """Return the aisle of a category: its department, with the large grocery department split by how goods are kept.

    Departments of a handful of categories go together as "deli, bakery and other".
    """
    if category in _FROZEN or "FROZEN" in category or category.startswith("FRZN"):
        return "frozen"
    if category in _DAIRY:
        return "dairy and chilled"
    if category in _HOUSEHOLD:
        return "household"
    return _AISLES.get(department, "deli, bakery and other")
