"""The best checkpoint of a run, also across restarts."""

from __future__ import annotations

from typing import Any

from detectron2.engine import hooks


class BestWeights(hooks.BestCheckpointer):
    """Detectron2's hook, which remembers the best value when the run resumes."""

    def state_dict(self) -> dict[str, Any]:
        """The best value so far and its iteration."""
        return {"best_metric": self.best_metric, "best_iter": self.best_iter}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from them."""
        self.best_metric, self.best_iter = state["best_metric"], state["best_iter"]
