"""Small detectors, data sets, runs and processes that tests share."""
