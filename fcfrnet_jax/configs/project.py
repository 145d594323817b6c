"""Projects the scans of whole drives to depth maps in KITTI's layout, for training and evaluation.

  fcfrnet --config=project --config.data_dir=KITTI_RAW --workdir=OUTPUT
  fcfrnet --config=project --config.scans=SCANS --config.calibration=FILE --workdir=OUTPUT

Training and evaluation read the result by --config.data_dir=OUTPUT. An interrupted run is continued
by the same command.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The task that fcfrnet runs.
    config.task = "project"

    # Folder of KITTI's raw data, with the folders of the dates, or of one date or drive.
    config.data_dir = ""
    # Instead of data_dir: a folder with the scans of a drive, in any format of docs/sensors.md, or
    # with such a folder for each drive.
    config.scans = ""
    # Names of the drives, separated by commas; empty for all.
    config.drives = ""
    # The cameras, 02 or 03, separated by commas. A calibration with one camera makes it camera 02.
    config.cameras = "02,03"
    # With scans: the calibration of the cameras and the scanner.
    config.calibration = ""
    # With scans: a file with T_cam_lidar, if the calibration does not contain it.
    config.extrinsics = ""
    # With scans: rows and columns of the images; 0 takes them from the calibration.
    config.size = (0, 0)
    # With scans: the columns of .bin, .npy and .npz files: their number, or their names, separated
    # by commas. Empty to detect them.
    config.columns = ""
    # With scans: coordinates per metre: 1000 for millimetres; 0 means 1.
    config.depth_scale = 0.0
    # Refuse depth that cannot be right, such as another unit.
    config.check_depth = True
    # With scans: folder of the images, named like the scans, or with such a folder for each drive.
    # They are linked into the workdir, or undistorted there. KITTI's images are always linked.
    config.image = ""

    # Source of the motion of the scanner during a scan: oxts (KITTI's GPS/IMU unit), poses (the
    # file of poses), none, or auto (oxts where there are such files).
    config.compensate = "auto"
    # Seconds per revolution of the scanner.
    config.period = 0.1
    # Whether the scanner turns clockwise as seen from above, as KITTI's does.
    config.clockwise = True
    # Leave out points that the camera does not see. KITTI's sparse depth has them.
    config.remove_hidden = False

    # Number of scans from which the ground truth of a frame is accumulated, such as 11; 0 writes no
    # ground truth. Frames with fewer scans before or after them are left out, as in KITTI.
    config.ground_truth_scans = 0
    # The poses of the scans, in the format of KITTI's odometry benchmark: a file, or a folder with
    # DRIVE.txt for each drive; empty for KITTI's GPS/IMU unit.
    config.poses = ""
    # Whose poses they are: camera (as in KITTI) or scanner.
    config.poses_of = "camera"

    # The split that is written: train or val.
    config.split = "train"
    # Number of processes that work in parallel; 0 for one per core.
    config.workers = 0
    # Flags for the XLA compiler, as in every task; projection does not use it.
    config.xla_flags = ""
    return config
