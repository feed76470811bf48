"""Named common causes that nobody measured, as a study declares them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whyrank.errors import InputError

__all__ = ["Unmeasured"]

_NAME = re.compile(r"(users|items|events)\.(.+)", re.DOTALL)
_BETWEEN_NAMES = re.compile(r",\s*(?=(?:users|items|events)\.)")


@dataclass(frozen=True)
class Unmeasured:
    """A common cause that nobody measured: its `name` and the `targets` (names like `items.price`) it acts on."""

    name: str
    targets: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Unmeasured:
        """Read `items.quality -> items.price, events.purchase`.

        Raises
        ------
        InputError
            If the text names no cause, no target, or a target that is not a name.
        """
        name, arrow, rest = (part.strip() for part in text.partition("->"))
        targets = tuple(part.strip() for part in _BETWEEN_NAMES.split(rest))
        if not arrow or not name or not all(_NAME.fullmatch(t) for t in targets):
            raise InputError(
                f"{text!r} is not an unmeasured cause: write 'items.quality -> items.price, events.purchase'"
            )
        if name in targets:
            raise InputError(f"{name!r} cannot be a cause of itself")
        return cls(name, tuple(dict.fromkeys(targets)))

    def __str__(self) -> str:
        return f"{self.name} -> {', '.join(self.targets)}"
