"""Settings of a run: every key of ``train``."""

train = dict(
    # Where checkpoints, logs and results go; empty: output/<name of the recipe's file>.
    output_dir="",
    # Weights to start from, or to evaluate: .pth, .pkl, .safetensors, detectron2:// or https://.
    init_checkpoint="",
    # Start the student's detector with the teacher's weights, all of them; without init_checkpoint.
    student_from_teacher=False,
    # Before the first iteration, the teacher is evaluated on this many test images (0: it is not);
    # the run stops if best.val_metric (percent) is lower than min_ap.
    teacher_check=dict(images=50, min_ap=1.0),
    # auto (a GPU where there is one), cpu, cuda, cuda:<k>, mps.
    device="auto",
    # Seed of initial weights, order and augmentation of the images, and every random choice.
    seed=0,
    # Number of iterations.
    max_iter=90000,
    # Iterations between two lines of the log.
    log_period=20,
    # Iterations between two evaluations; 0: evaluate at the end only.
    eval_period=5000,
    # With --eval-only, compare a low-resolution model with its full-resolution teacher.
    compare_teacher=True,
    # Keep weights and activations channels-last: up to 40 % faster on a CPU.
    channels_last=False,
    # Mixed precision: float16 on a GPU, bfloat16 on a CPU that multiplies it faster than float32;
    # elsewhere it stays off, as the start-up report says.
    amp=dict(enabled=False),
    # Arguments of DistributedDataParallel.
    ddp=dict(broadcast_buffers=False, find_unused_parameters=False),
    # Iterations between two checkpoints, and how many are kept beside the best and the final one;
    # with two, a run resumes from the earlier one if the later one is damaged.
    checkpointer=dict(period=5000, max_to_keep=2),
    # Metric that selects the best checkpoint.
    best=dict(val_metric="bbox/AP", mode="max"),
    # End the run when the best metric has not improved for `patience` evaluations; of a run in
    # stages only those of the last stage count.
    early_stopping=dict(enabled=False, patience=5),
    # kind: norm (over all parameters), value (of each element) or adjustable (the limit is of a
    # value times its learning rate, as VDSR has it).
    clip_gradients=dict(enabled=False, params=dict(kind="norm", limit=1.0)),
    # Evaluate and keep an exponential moving average of the weights.
    ema=dict(enabled=False, decay=0.999),
    # L(Stage)(...) in order, their lengths in iterations or as shares of max_iter (0.25); empty:
    # everything is trainable throughout.
    stages=[],
)
