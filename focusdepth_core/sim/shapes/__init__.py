"""The catalogue of household objects, tools and food, all generated: no mesh files, no foreign licences."""

from focusdepth_core.sim.shapes import boxes, food, thin, tools, vessels  # noqa: F401  (they register themselves)
from focusdepth_core.sim.shapes.registry import CATEGORIES, Category

__all__ = ["CATEGORIES", "Category"]
