"""Trains a compact coarse network for a few steps on sample frames, as a first try.

  python -m fcfrnet_jax.main --config=configs/train.py --workdir=output/train

The published settings for KITTI are in train_coarse.py, train_fine.py and train_joint.py.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "train"
    # What is trained: coarse, fine (on a frozen coarse network or stored maps), or joint.
    config.stage = "coarse"

    # Folder with KITTI's archives unpacked; empty: a few sample scenes, made once and cached.
    config.data_dir = ""
    # files: the frames of the split. synthetic: streets that the devices render, without end; the
    # split is not read then, validation is on files all the same.
    config.source = "files"
    config.split = "train"
    config.val_split = "val"
    # Rows and columns of the rendered picture of which the crop is a part; other sizes than KITTI's
    # show the same view.
    config.camera = (375, 1242)
    # Strength, 0 to 1, of patterns over rendered pictures that have nothing to do with depth.
    config.clutter = 0.0
    # Pixels by which rendered pictures are at most moved against their depth maps.
    config.misalignment = 0.0
    # Tree of stored coarse maps, for the fine stage.
    config.coarse_dir = ""
    # Rows and columns of the crop.
    config.crop = (96, 320)
    # Read every file before the start, so that no damaged one ends the run later.
    config.check_files = True
    config.skip_bad_frames = False
    config.augmentation = ConfigDict(
        {
            "flip": 0.5,
            "brightness": 0.1,
            "contrast": 0.1,
            "saturation": 0.1,
            "random_crop": True,
            "beam_probability": 0.0,
            # How many of the 64 LiDAR beams stay, one of these, with that probability.
            "beams": (),
            "point_dropout": 0.0,
        }
    )

    # The networks: ResNet depth, inputs, channels at full resolution.
    config.coarse = ConfigDict(
        {"layers": 18, "modality": "rgbd", "width": 8, "base": "none", "keep_measured": False}
    )
    config.fine = ConfigDict(
        {"layers": 18, "modality": "rgbd", "width": 8, "variant": "released", "window": 5}
    )
    # resnet or reference.
    config.init = "resnet"
    # A model to start from, and the coarse network before the fine one.
    config.checkpoint = ""
    config.coarse_checkpoint = ""

    # dense, sparse, photo, sparse+photo or dense+photo.
    config.mode = "dense"
    # mse, l1 or l1+mse.
    config.depth_loss = "mse"
    config.photometric_weight = 0.1
    config.smoothness_weight = 0.1
    # Of the two depth maps in the joint stage.
    config.coarse_weight = 1.0
    config.fine_weight = 1.0

    # adam, adamw or sgd.
    config.optimizer = "adam"
    config.learning_rate = 1e-3
    # constant, step (a tenth after every decay_epochs) or cosine.
    config.schedule = "cosine"
    config.decay_epochs = 10
    config.warmup_steps = 5
    config.weight_decay = 0.0
    # Largest norm of the gradient; 0 leaves it.
    config.clip_norm = 0.0
    # Decay of the moving average of the parameters that is evaluated; 0 for none.
    config.ema_decay = 0.0
    # Share of the residual learned by the fine network that is evaluated and kept: below 1 for a
    # model that will meet other data than it learned from.
    config.residual_share = 1.0

    # Global batch size, and the micro-batches into which each device splits its part.
    config.batch_size = 4
    config.accumulate = 1
    # float32 or bfloat16.
    config.dtype = "float32"
    # Compute activations again in the backward pass, to save memory.
    config.remat = False
    config.sync_batchnorm = True
    # How long: steps, or epochs where steps is 0.
    config.steps = 40
    config.epochs = 0
    config.seed = 0

    config.log_every = 5
    config.validate_every = 20
    config.save_every = 20
    # Snapshots to keep, and validation panels for TensorBoard.
    config.keep = 3
    config.panels = 2
    # Threads that read and decode; 0 is one a core.
    config.threads = 0
    # Flags for the compiler, beside those of the environment's XLA_FLAGS.
    config.xla_flags = ""

    # Several processes, where neither Slurm nor Open MPI nor a TPU pod tells them of each other.
    config.coordinator = ""
    config.processes = 0
    config.process = -1
    return config
