"""Helpers of the core: processes, events, files, logging, analysis."""
