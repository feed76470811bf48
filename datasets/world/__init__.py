"""Shops with known effects: a simulator that is a hard but fair test of whoever looks for causes in a log."""

from whyrank.datasets.world.columns import COLUMNS, Column
from whyrank.datasets.world.simulate import World, WorldSpec, null_world, simulate, small_world
from whyrank.datasets.world.write import write_world

__all__ = ["COLUMNS", "Column", "World", "WorldSpec", "null_world", "simulate", "small_world", "write_world"]
