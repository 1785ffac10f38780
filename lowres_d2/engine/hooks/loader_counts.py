"""Report what the training loader dropped: boxes without area, broken images."""

from __future__ import annotations

import logging

from detectron2.engine import HookBase
from detectron2.utils.events import get_event_storage

logger = logging.getLogger(__name__)


class LoaderCounts(HookBase):
    """Logs the training loader's ``counts`` as ``[metric]data/...``; warns of them at the end."""

    def after_step(self) -> None:
        for name, count in self._counts().items():
            # Running totals: the median over a window would show an older one.
            get_event_storage().put_scalar(f"[metric]data/{name}", count, smoothing_hint=False)

    def after_train(self) -> None:
        dropped = {name: count for name, count in self._counts().items() if count}
        if dropped:
            words = ", ".join(f"{name} {count}" for name, count in dropped.items())
            logger.warning("some of the training data was not used: %s", words)

    def _counts(self) -> dict[str, int]:
        # A user's own loader may count nothing.
        return getattr(self.trainer.data_loader, "counts", {})
