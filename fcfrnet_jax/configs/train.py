"""Trains a compact coarse network for a few steps on sample frames, as a first try.

  fcfrnet --config=train --workdir=output/train

The published settings for KITTI are in train_coarse.py, train_fine.py and train_joint.py.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The task that fcfrnet runs.
    config.task = "train"
    # What is trained: coarse; fine, on a frozen coarse network or stored coarse maps; or joint, for
    # both networks end to end.
    config.stage = "coarse"

    # Folder of the data set: KITTI's unpacked archives or its shards, NYU Depth v2, or a folder
    # with a dataset.json; empty for a few rendered sample frames, which are cached.
    config.data_dir = ""
    # Where training examples come from: files, for the frames of split; or synthetic, for an
    # endless stream of streets, rendered on the accelerator during training. Validation always
    # reads files.
    config.source = "files"
    # The split to train on, with KITTI train or val; unused with source=synthetic.
    config.split = "train"
    # The split to validate on: with KITTI train, val or val_selection.
    config.val_split = "val"
    # Number of sparse points that are drawn from the ground truth of NYU Depth v2; other data sets
    # do not use it.
    config.points = 500
    # Rows and columns of the rendered images, at least those of the crop; every size shows the
    # field of view of KITTI's camera.
    config.camera = (375, 1242)
    # With source=synthetic, render this many frames once, a multiple of 16, and train on windows of
    # them, with the exact depth, mixed scan patterns and strongly varied images. 0 renders every
    # example anew.
    config.pool_frames = 0
    # The folder of these frames; empty for one in the cache.
    config.pool_dir = ""
    # Strength, 0 to 1, of patterns laid over rendered images that have nothing to do with depth.
    config.clutter = 0.0
    # Largest shift, in pixels, of rendered images against their depth maps.
    config.misalignment = 0.0
    # Folder with stored coarse maps, for stage=fine.
    config.coarse_dir = ""
    # Rows and columns of the training crop, multiples of 16.
    config.crop = (96, 320)
    # Rows and columns of the crop at the bottom centre on which the model is validated; 0 keeps all
    # of them.
    config.val_crop = (0, 0)
    # Read every file before training starts, so that a damaged one cannot end the run later. After
    # --config=check_data, nothing is read if no file has changed.
    config.check_files = True
    # Leave out frames with missing, damaged or empty files instead of failing.
    config.skip_bad_frames = False
    # Compare the depth maps of a few frames, and stop if they cannot be right: another unit, a
    # missing depth that is not 0, the ground truth as an input, or coarse maps with holes.
    config.check_depth = True

    config.augmentation = ConfigDict()
    # Probability of a horizontal flip.
    config.augmentation.flip = 0.5
    # Brightness factors are drawn from 1 - value to 1 + value.
    config.augmentation.brightness = 0.1
    # Contrast factors are drawn from 1 - value to 1 + value.
    config.augmentation.contrast = 0.1
    # Saturation factors are drawn from 1 - value to 1 + value.
    config.augmentation.saturation = 0.1
    # Place the crop at random instead of at the bottom centre.
    config.augmentation.random_crop = True
    # Probability that whole LiDAR beams are left out.
    config.augmentation.beam_probability = 0.0
    # How many of the 64 LiDAR beams are then kept: one of these numbers, drawn at random.
    config.augmentation.beams = ()
    # The share of LiDAR points to leave out is drawn from 0 to this.
    config.augmentation.point_dropout = 0.0
    # Draw this many pixels of the ground truth as the sparse depth of every example, as for NYU
    # Depth v2; 0 keeps the sparse depth of the data set.
    config.augmentation.points = 0
    # Enlarge every example by a factor drawn from 1 to this, and divide its depth by it; 1 = not.
    config.augmentation.scale = 1.0
    # Rotate every example by an angle drawn from minus to plus this, in degrees; 0 = not.
    config.augmentation.rotation = 0.0

    config.coarse = ConfigDict()
    # Depth of the coarse network's ResNet: 10, 18, 34 or 50.
    config.coarse.layers = 18
    # Inputs of the coarse network: rgbd, gd, d, rgb or g (g: grey image, d: sparse depth).
    config.coarse.modality = "rgbd"
    # Channels of the coarse network at full resolution, a multiple of 4; 64 as published.
    config.coarse.width = 8
    # Side in pixels of the patches that the coarse network works on: 1 as published, 2 or 4.
    config.coarse.patch = 1
    # Metres. Smallest coarse depth; predictions are clipped to it.
    config.coarse.min_depth = 0.9
    # Metres. Largest coarse depth, by which the network scales depth, too.
    config.coarse.max_depth = 100.0
    # What the coarse network adds its output to: none, as published, or the classical fill.
    config.coarse.base = "none"
    # Put measured depths back into the coarse depth, except those seen through the foreground.
    config.coarse.keep_measured = False

    config.fine = ConfigDict()
    # Depth of the fine network's ResNet: 10, 18, 34 or 50.
    config.fine.layers = 18
    # Inputs of the fine network: rgbd, gd for a grey image, or, with patch above 1, d for no image.
    config.fine.modality = "rgbd"
    # Channels of the fine network at full resolution, a multiple of 4; 64 as published.
    config.fine.width = 8
    # Side in pixels of the patches that the fine network works on: 1 as published, 2 or 4.
    config.fine.patch = 1
    # Metres. Smallest fine depth; predictions are clipped to it.
    config.fine.min_depth = 0.9
    # Metres. Largest fine depth, by which the network scales depth, too.
    config.fine.max_depth = 85.0
    # Wiring of the fine network: released, as the released weights need, or paper.
    config.fine.variant = "released"
    # Side in pixels, odd, of the box over which the fusion sums energies.
    config.fine.window = 5

    # Initialisation of the weights: resnet, or reference for that of the released code.
    config.init = "resnet"
    # Folder of a model to start from, or compact for the compact model; empty to start from random
    # weights. Of a two-stage model, the network of the stage is taken.
    config.checkpoint = ""
    # Folder of a coarse or two-stage model, whose coarse network is frozen with stage=fine, and is
    # the start with stage=joint.
    config.coarse_checkpoint = ""

    # Supervision: dense (ground truth), sparse (the sparse depth), photo (the photometric loss
    # between nearby frames), sparse+photo or dense+photo.
    config.mode = "dense"
    # Loss of the depth: mse, l1, l1+mse or l1+rmse.
    config.depth_loss = "mse"
    # Weight of the RMSE relative to the mean absolute error in depth_loss=l1+rmse.
    config.rmse_weight = 0.3
    # Weight of the photometric loss, in the modes with photo.
    config.photometric_weight = 0.1
    # Weight of the smoothness loss, in the modes with photo.
    config.smoothness_weight = 0.1
    # Weight of the error of log depth at all pixels, with pool_frames.
    config.exact_weight = 0.0
    # Weight of the error of differences of log depth between neighbours, with pool_frames.
    config.edge_weight = 0.0
    # Of the predicted scale of the error, for networks of patches.
    config.scale_weight = 0.0
    # Weight of the coarse depth's loss with stage=joint.
    config.coarse_weight = 1.0
    # Weight of the fine depth's loss with stage=joint.
    config.fine_weight = 1.0

    # Optimizer: adam, adamw or sgd.
    config.optimizer = "adam"
    # Largest learning rate.
    config.learning_rate = 1e-3
    # Learning rate schedule: constant, step (divided by 10 every decay_epochs), cosine, or plateau
    # (constant for 70% of the steps, then cosine).
    config.schedule = "cosine"
    # Epochs after which schedule=step divides the learning rate by 10.
    config.decay_epochs = 10
    # Steps over which the learning rate grows linearly at the start.
    config.warmup_steps = 5
    # Weight decay of the kernels, for adamw and sgd.
    config.weight_decay = 0.0
    # Largest norm of the gradient; 0 for no clipping.
    config.clip_norm = 0.0
    # Decay of the moving average of the parameters, which is evaluated and saved; 0 for none.
    config.ema_decay = 0.0

    # Global batch size, over all devices and processes.
    config.batch_size = 4
    # Number of micro-batches into which each device splits its part of the batch.
    config.accumulate = 1
    # Data type of the convolutions: float32 or bfloat16.
    config.dtype = "float32"
    # Recompute activations in the backward pass: less memory, more time.
    config.remat = False
    # Compute BatchNorm's statistics over the whole batch instead of over each device's part.
    config.sync_batchnorm = True
    # Normalise by the running statistics of the checkpoint and keep them, for few frames.
    config.freeze_batchnorm = False
    # Length of the training in updates; 0 to set it by epochs.
    config.steps = 40
    # Length of the training in epochs, if steps is 0.
    config.epochs = 0
    # Seed of the initial weights, the order of the frames and the augmentation.
    config.seed = 0

    # Steps between records of the losses in metrics.jsonl and TensorBoard; 0 for one at the end
    # only.
    config.log_every = 5
    # Steps between validations; 0 for one at the end only.
    config.validate_every = 20
    # Validate before the first update, too, and keep that model as the first best one.
    config.validate_start = False
    # Steps between snapshots; 0 for one at the end, or when the run is stopped.
    config.save_every = 20
    # Number of snapshots to keep.
    config.keep = 3
    # Number of validation frames whose panels are written to TensorBoard.
    config.panels = 2
    # Threads that read and decode files; 0 for one per CPU core.
    config.threads = 0
    # Flags for the XLA compiler, added to those of the environment variable XLA_FLAGS.
    config.xla_flags = ""

    # Address, HOST:PORT, of the first of several processes; empty for one process, and where Slurm,
    # Open MPI or a TPU pod provides it.
    config.coordinator = ""
    # Number of processes, given together with coordinator.
    config.processes = 0
    # Index of this process, from 0, given together with coordinator.
    config.process = -1
    # Seconds to wait for the other processes at the start.
    config.join_timeout = 300
    return config
