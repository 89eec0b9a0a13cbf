"""What all unit tests share: one thread each, a collector that rests, no deadlines."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

# How long an example takes is not what a test is about, and a busy machine is no fault of ours.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")

# Each worker of xdist has one core: threads of OpenMP that wait for each other there cost more
# than they compute. Read when numpy, torch and scikit-learn are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Half a million objects of imported libraries live until the end: the collector need not look
# through them while they come, nor after every few thousand objects of a test.
gc.disable()
_FULL_COLLECTIONS_ARE_RARE = 100


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _FULL_COLLECTIONS_ARE_RARE)
    gc.enable()
