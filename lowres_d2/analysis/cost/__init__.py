"""Cost of a model: parameters, MACs, latency; accuracy against cost."""
