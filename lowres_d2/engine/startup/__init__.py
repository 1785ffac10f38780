"""Checks and a report before the first iteration: whether the run is set up correctly."""
