from lowres_d2.engine.processes.membership import find_membership, first_host, restarts

import pytest

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "4",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "200505",
    "SLURM_NODELIST": "gnode[10,20,25,37]",
}


def membership(base, **changes):
    changed = base | changes
    return find_membership({key: value for key, value in changed.items() if value is not None})


def test_variables_of_torchrun():
    found = membership(TORCHRUN)
    assert (found.rank, found.world_size, found.local_rank, found.local_size) == (3, 4, 1, 2)
    assert (found.address, found.port, found.hosts_store) == ("a", 29500, False)
    assert membership(TORCHRUN, RANK="0").hosts_store
    assert not membership(TORCHRUN, RANK="0", TORCHELASTIC_USE_AGENT_STORE="True").hosts_store
    assert membership(TORCHRUN | SRUN, SLURM_PROCID="0").rank == 3  # srun torchrun ...


def test_variables_of_srun():
    found = membership(SRUN)
    assert (found.rank, found.world_size, found.local_rank, found.local_size) == (3, 4, 1, None)
    assert (found.address, found.hosts_store) == ("gnode10", False)
    assert membership(SRUN, SLURM_PROCID="0", SLURM_LOCALID="0").hosts_store
    # A step may have fewer tasks, on fewer hosts, than its job.
    step = membership(SRUN, SLURM_STEP_NUM_TASKS="5", SLURM_STEP_NODELIST="gnode20")
    assert (step.world_size, step.address) == (5, "gnode20")
    given = membership(SRUN, MASTER_ADDR="b", MASTER_PORT="7")
    assert (given.address, given.port) == ("b", 7)
    called = membership(SRUN, SLURM_NODELIST=None, SLURM_LAUNCH_NODE_IPADDR="10.0.0.7")
    assert called.address == "10.0.0.7"


def test_jobs_and_steps_have_ports_of_their_own():
    names = [{"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(k)} for job in (8, 9) for k in (0, 1)]
    ports = {membership(SRUN, **name).port for name in names}
    assert len(ports) == 4 and all(12000 <= port < 32000 for port in ports)
    assert 12000 <= membership(SRUN, SLURM_JOB_ID="4294967295").port < 32000


@pytest.mark.parametrize(
    "environ",
    [
        {},
        SRUN | {"SLURM_NTASKS": "1"},
        SRUN | {"SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "5"},  # salloc's shell
        # A batch script has the variables of the tasks that it may start.
        SRUN | {"SLURM_PROCID": "0", "ENVIRONMENT": "BATCH"},
    ],
)
def test_a_single_process(environ):
    assert find_membership(environ) is None


def test_a_task_started_by_a_batch_script_is_a_member():
    assert membership(SRUN, ENVIRONMENT="BATCH", SLURM_STEP_ID="0").rank == 3


@pytest.mark.parametrize(
    ("base", "changes", "words"),
    [
        (TORCHRUN, {"RANK": None}, "RANK is not set, but others of"),
        (TORCHRUN, {"WORLD_SIZE": None}, "WORLD_SIZE is not set"),
        (TORCHRUN, {"MASTER_PORT": None}, "MASTER_PORT is not set"),
        (TORCHRUN, {"RANK": "4"}, "RANK=4 and WORLD_SIZE=4 contradict each other"),
        (TORCHRUN, {"LOCAL_RANK": "2"}, "LOCAL_RANK=2 and LOCAL_WORLD_SIZE=2 contradict"),
        (TORCHRUN, {"LOCAL_WORLD_SIZE": "8"}, "LOCAL_WORLD_SIZE=8 and WORLD_SIZE=4 contradict"),
        (TORCHRUN, {"RANK": "-1"}, "RANK=-1: expected a whole number"),
        (SRUN, {"SLURM_PROCID": "4"}, "SLURM_PROCID=4 and SLURM_NTASKS=4 contradict"),
        (SRUN, {"SLURM_LOCALID": "9"}, "SLURM_LOCALID=9 and SLURM_PROCID=3 contradict"),
        (SRUN, {"SLURM_LOCALID": None}, "SLURM_LOCALID is not set"),
        (SRUN, {"SLURM_JOB_ID": None}, "neither MASTER_PORT nor SLURM_JOB_ID"),
        (SRUN, {"SLURM_NODELIST": None}, "set MASTER_ADDR"),
    ],
)
def test_contradictions_are_named_in_one_line(base, changes, words):
    with pytest.raises(ValueError, match=words) as caught:
        membership(base, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node7", "node7"),
        ("a,b", "a"),
        ("gpu-[003-005,9],login", "gpu-003"),
        ("r[2-3]n[07,9]-ib,x", "r2n07-ib"),
    ],
)
def test_first_host_of_a_list(nodes, host):
    assert first_host(nodes) == host


def test_restarts_of_torchrun_and_of_slurm_are_counted():
    assert restarts({}) == 0
    assert restarts({"TORCHELASTIC_RESTART_COUNT": "0", "SLURM_RESTART_COUNT": "2"}) == 2
    assert restarts({"TORCHELASTIC_RESTART_COUNT": "1"}) == 1
