"""What is measured. Each module has `scenarios(size)`; what they are made of is in `base.py`."""

from benchmarks.scenarios import big_bodies, first_token, growth, helpers, imports, layers, memory, streams, unary
from benchmarks.scenarios.base import Scenario, Size

_MODULES = (unary, streams, first_token, memory, growth, imports, big_bodies, helpers, layers)


def scenarios(size: Size) -> dict[str, Scenario]:
    """All of them by name, in the order of the tables."""
    return {scenario.name: scenario for module in _MODULES for scenario in module.scenarios(size)}
