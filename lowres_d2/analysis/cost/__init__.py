"""Cost of a model: parameters, memory, MACs, latency; accuracy against cost."""
