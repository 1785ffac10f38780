"""How a run goes: every key of ``train``."""

train = dict(
    # Where checkpoints, logs and results go; empty: output/<name of the recipe's file>.
    output_dir="",
    # Weights to start from, or to evaluate: .pth, .pkl, .safetensors, detectron2:// or https://.
    init_checkpoint="",
    # Start the student's detector with the teacher's weights, all of them; without init_checkpoint.
    student_from_teacher=False,
    # Before the first step the teacher is evaluated on this many images of the test set (0: not);
    # if best.val_metric (percent) is under the floor, the run stops.
    teacher_check=dict(images=50, min_ap=1.0),
    # auto (a GPU where there is one), cpu, cuda, cuda:<k>, mps.
    device="auto",
    # Initial weights, order and augmentation of the images, and every random choice follow it.
    seed=0,
    # Number of steps.
    max_iter=90000,
    # Steps between two lines of the log.
    log_period=20,
    # Steps between two evaluations; 0 evaluates at the end only.
    eval_period=5000,
    # With --eval-only, measure a low-resolution model beside its full-resolution teacher.
    compare_teacher=True,
    # Keep weights and activations channels-last: up to 40 % faster on a CPU.
    channels_last=False,
    # Mixed precision: float16 on a GPU, bfloat16 on a CPU that multiplies it faster than float32;
    # elsewhere it stays off, as the start-up report says.
    amp=dict(enabled=False),
    # Arguments of DistributedDataParallel.
    ddp=dict(broadcast_buffers=False, find_unused_parameters=False),
    # Steps between two checkpoints, and how many are kept beside the best and the final one;
    # with two, a run resumes from the earlier where the later has been damaged.
    checkpointer=dict(period=5000, max_to_keep=2),
    # Which result makes a checkpoint the best one.
    best=dict(val_metric="bbox/AP", mode="max"),
    # kind: norm (over all parameters) or value (each).
    clip_gradients=dict(enabled=False, params=dict(kind="norm", limit=1.0)),
    # Evaluate and keep an exponential moving average of the weights.
    ema=dict(enabled=False, decay=0.999),
    # L(Stage)(...) in order; empty: everything trains all the time.
    stages=[],
)
