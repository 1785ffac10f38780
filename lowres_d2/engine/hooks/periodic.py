"""Keep at most ``max_to_keep`` periodic checkpoints, however often the run was resumed."""

from __future__ import annotations

import re
from pathlib import Path

from detectron2.engine import hooks


class PeriodicCheckpoints(hooks.PeriodicCheckpointer):
    """Detectron2's hook, which also counts the checkpoints saved before the run was resumed."""

    def before_train(self) -> None:
        super().before_train()
        start = self.trainer.start_iter
        if not start:  # those of an earlier run are put aside
            return
        self._count_in_earlier_ones(start)
        if start == self.max_iter and self._number(self.checkpointer.get_checkpoint_file()) >= 0:
            # The run was killed between its last numbered checkpoint and the final one.
            self.checkpointer.save(f"{self.file_prefix}_final", iteration=start - 1)

    def _count_in_earlier_ones(self, start: int) -> None:
        paths = Path(self.checkpointer.save_dir).glob(f"{self.file_prefix}_*.pth")
        earlier = sorted((p for p in paths if 0 <= self._number(p) < start), key=self._number)
        while len(earlier) > self.max_to_keep:
            earlier.pop(0).unlink(missing_ok=True)
        # fvcore keeps this list in memory only: every resume would leave max_to_keep more files.
        self.recent_checkpoints = [str(path) for path in earlier]

    def _number(self, path: str | Path) -> int:
        """Iteration in the name of a numbered checkpoint; -1 for the best and the final one."""
        found = re.fullmatch(rf"{re.escape(self.file_prefix)}_(\d+)\.pth", Path(path).name)
        return int(found[1]) if found else -1
