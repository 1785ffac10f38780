"""The suite's plugins: shape checks first, then the fixtures that tests of several folders use."""

import shape_checks

shape_checks.install()  # before anything imports the modules whose calls are checked
pytest_plugins = ["toys.fixtures"]
