"""Run a recipe: training loop, evaluation, stages and checkpoints."""
