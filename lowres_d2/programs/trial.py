"""How programs that train a teacher and then its students are tried in short."""

TRIAL = "train.max_iter=20 train.teacher_check.min_ap=0"
HINT = f"For a trial that trains everything for a few iterations only: {TRIAL}"
