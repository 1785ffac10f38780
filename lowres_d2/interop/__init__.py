"""Detectors and detections for other libraries, each imported only by the module that is for it."""
