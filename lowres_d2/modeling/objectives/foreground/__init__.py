"""Objects of the detector's image, and an empty background, decoded from its features."""
