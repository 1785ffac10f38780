"""The suite's plugins: shape checks first, then the fixtures that tests of several folders use."""

import pytest

import shape_checks

shape_checks.install()  # before anything imports the modules whose calls are checked
pytest.register_assert_rewrite("operator_case")
pytest_plugins = ["toys.fixtures"]
