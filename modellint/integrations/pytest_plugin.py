"""The pytest plugin: the fixture `modellint`, whose `probe` returns a report that can be asserted on.

pytest imports this module at every start, so it imports nothing until the fixture is used.
"""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.fixture(name="modellint")
def modellint_fixture() -> ModuleType:
    """The package: `modellint.probe(model, batch, loss_fn, optimizer, steps=10)` measures a model in this process."""
    import modellint

    return modellint
