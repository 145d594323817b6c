"""Predicts dense depth for an image and its sparse depth or scan, or for the files of two folders.

  fcfrnet --config=predict
  fcfrnet --config=predict --config.image=IMAGES --config.depth=DEPTHS --workdir=OUTPUT
  fcfrnet --config=predict --config.image=IMAGES --config.scan=SCANS \
      --config.calibration=calibration.json --workdir=OUTPUT

The first command predicts a rendered sample image and scan. An interrupted run on folders is
continued by the same command.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The task that fcfrnet runs.
    config.task = "predict"

    # An image, or a folder of images: PNG, JPEG, BMP, TIFF or WebP, in colour or gray, with 8 or 16
    # bits. Empty, together with depth and scan, for a rendered sample image and scan.
    config.image = ""
    # The sparse depth of the image: a 16-bit PNG, .npy or .npz file, or a folder of such files.
    config.depth = ""
    # How the images are named, relative to their folder. Files with the same text in the place of
    # the fields in braces belong together; * stands for any text without a slash.
    config.image_pattern = "{name}"
    # How the depth files are named, relative to their folder, with the same fields.
    config.depth_pattern = "{name}"
    # In place of depth, a raw scan of the image: a .bin, .npy, .npz, .pcd or .ply file, or a folder
    # of such files.
    config.scan = ""
    # How the scans are named, relative to their folder, with the same fields.
    config.scan_pattern = "{name}"
    # The calibration of the camera and the scanner: a file of KITTI's raw data or benchmarks, JSON
    # or YAML; the folder of a date of KITTI's raw data; or a folder with a file for each image.
    config.calibration = ""
    # A file with T_cam_lidar, if calibration does not contain it.
    config.extrinsics = ""
    # The camera of KITTI's calibrations: 00, 01, 02 or 03.
    config.camera = "02"
    # The columns of .bin, .npy and .npz scans: their number, or their names, separated by commas.
    # Empty to detect them.
    config.columns = ""
    # Measurements of KITTI's GPS/IMU unit, oxts/data or a file of it, to compensate the motion of
    # the car during the scan; empty for no compensation.
    config.oxts = ""
    # Leave out the points of scans that the camera does not see.
    config.remove_hidden = True
    # Stored values per metre: 256 for KITTI's PNG files, 1000 for millimetres; 0 for 256 in PNG
    # files and 1 in arrays of floating-point numbers and scans.
    config.depth_scale = 0.0
    # Measured depths above this, in metres, count as missing; 0 for no limit.
    config.max_depth = 0.0
    # Refuse depth that cannot be right, such as another unit.
    config.check_depth = True
    # The camera, for point clouds without calibration: fx,fy,cx,cy in pixels, a text file with the
    # nine numbers of the camera matrix, or a folder with such a file for each image.
    config.intrinsics = ""

    # What is written for each frame, separated by commas: png (16 bits), npy (float32 metres),
    # colour, panel, image (undistorted), confidence (8 bits, 255 = certain), confidence_npy,
    # the point clouds ply and pcd, and rrd for the viewer of rerun.
    config.outputs = "png,panel"
    # Values per metre in the 16-bit PNG files that are written.
    config.png_scale = 256.0
    # The far end of the colours of colour and panel in metres; the near end is 5% of it. 0 for the
    # largest depth of the model, but at most 80.
    config.colour_max_depth = 0.0
    # Pixels with a lower confidence, 0 to 1, are missing in PNG files and point clouds.
    config.min_confidence = 0.0
    config.cloud = ConfigDict()
    # Point clouds: the frame of the points, camera or lidar.
    config.cloud.frame = "camera"
    # Point clouds: pixels farther than this, in metres, are left out.
    config.cloud.max_depth = 80.0
    # Point clouds: pixels are left out whose depth differs from that of a neighbour by more than
    # this share.
    config.cloud.max_jump = 0.05
    # Point clouds: keep what is predicted above the highest measured points, mostly sky.
    config.cloud.above_scan = False

    # Folder of a coarse, a fine or a two-stage model; empty for the classical fill. The name
    # compact stands for the compact model of the package.
    config.checkpoint = "compact"
    # Folder of a coarse or two-stage model whose coarse network runs before a fine model.
    config.coarse_checkpoint = ""
    # Global batch size, over all devices; 0 for one frame per device.
    config.batch_size = 0
    # Data type of the convolutions: float32 or bfloat16.
    config.dtype = "float32"
    # Flags for the XLA compiler, added to those of the environment variable XLA_FLAGS.
    config.xla_flags = ""
    return config
