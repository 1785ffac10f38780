"""Running recipes: command line, train loop, stages, checkpoints, demo and quickstart."""
