"""The paper's two stages in the 90,000 iterations of the 1x schedule: a tenth for the first."""

from .detr_50ep import stages

# The recipe's own learning-rate curve, over the remaining iterations.
stages[1].schedule = None
