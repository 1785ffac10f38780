"""Fixtures that tests of several folders use."""

import pytest

from toys.data import write_coco
from toys.ranks import Ranks
from toys.runs import PLAIN, run_overrides
from toys.trained import Trained, write_untrained_run


@pytest.fixture(scope="session")
def coco_json(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="session")
def ranks(tmp_path_factory):
    """Runs a program in two real processes, or more, started as by srun."""
    ranks = Ranks(tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.close()


@pytest.fixture
def toy_arguments(coco_json, tmp_path):
    """Command line of a run of 6 iterations on 6 images, into ``tmp_path/run``."""
    return [
        "--config-file",
        PLAIN,
        *run_overrides(coco_json, iterations=6, log_period=2),
        f"train.output_dir={tmp_path / 'run'}",
        "train.checkpointer.period=3",
        "train.checkpointer.max_to_keep=5",
    ]


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def untrained_run(coco_json, tmp_path_factory):
    """The folder of a run of a detector with random weights, and the detector."""
    return write_untrained_run(tmp_path_factory.mktemp("untrained") / "run", coco_json)
