"""The suite's plugins: shape checks first, then the fixtures that tests of several folders use."""

import gc
import os

import pytest

import shape_checks

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
shape_checks.install()  # before anything imports the modules whose calls are checked
pytest.register_assert_rewrite("operator_case")
pytest_plugins = ["toys.fixtures"]


def pytest_collection_finish():
    """What was imported by now stays: collections of garbage need not go through it every time."""
    gc.collect()
    gc.freeze()
