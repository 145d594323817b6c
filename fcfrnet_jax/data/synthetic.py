"""A small made-up data set in KITTI's layout, so that every command can run without a download.

The frames show procedural streets of boxes, ellipsoids and upright cylinders, with the exact depth
of every pixel and a simulated scanner. They are for trying the program, not for judging a network.

World frame: x right, y down, z along the street, ground at y = 0, metres. Camera frame: KITTI's
rectified one.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.files import write_depth, write_image, write_json

SAMPLE_NAME = "sample-v1"  # goes up whenever the frames change
DATE = "2000_01_01"
FIRST_FRAME = 5  # the benchmark leaves out the first five frames of a drive
CROP = (352, 1216)
HEIGHT, WIDTH = 375, 1242
KITTI_INTRINSICS = ((721.5377, 0.0, 609.5593), (0.0, 721.5377, 172.854), (0.0, 0.0, 1.0))

CAMERA_HEIGHT = 1.65
SCANNER = (0.0, -0.08, -0.27)  # in the camera frame
SCANNER_RANGE = 80.0
SCANNER_BEAMS = 64
# Scans taken along the street, in metres: the first gives sparse depth, all of them ground truth.
SCANS = (0.0, -5.0, -4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0, 5.0)

GROUND, PAVEMENT, BUILDING, CAR, CABIN, FOLIAGE, PLAIN = range(7)
BOX, ELLIPSOID, CYLINDER = range(3)
NOISES = (0.35, 1.2, 3.0, 7.0, 25.0)  # lattice points a metre
# Linear RGB.
PAINTS = (
    *((0.85, 0.85, 0.83), (0.55, 0.57, 0.6), (0.04, 0.04, 0.05), (0.05, 0.12, 0.35)),
    *((0.5, 0.03, 0.03), (0.25, 0.27, 0.3), (0.75, 0.75, 0.75), (0.09, 0.2, 0.16)),
)
PLASTERS = (
    *((0.72, 0.62, 0.42), (0.7, 0.68, 0.62), (0.5, 0.24, 0.16), (0.6, 0.48, 0.4)),
    *((0.42, 0.44, 0.45), (0.72, 0.52, 0.34), (0.78, 0.77, 0.72)),
)
CARS, TREES, POLES, HEDGES, HOUSES = 12, 8, 6, 4, 14


class Frame(NamedTuple):
    """One frame: `image` uint8 `[H, W, 3]`; else float32 `[H, W]` metres along the optical axis.

    `depth` is the true depth, 0 = sky; `sparse_depth` one scan with noise, `ground_truth` the true
    depth where any of eleven scans hit, both 0 = missing.
    """

    image: jax.Array
    depth: jax.Array
    sparse_depth: jax.Array
    ground_truth: jax.Array


class Primitives(NamedTuple):
    """N solids: centre, half extents, colour `[N, 3]`; yaw in radians and material `[N]`."""

    centre: jax.Array
    half: jax.Array
    yaw: jax.Array
    colour: jax.Array
    material: jax.Array


class Street(NamedTuple):
    """The solids of a street by shape, its half width, the camera's pose, the way to the sun."""

    boxes: Primitives
    ellipsoids: Primitives
    cylinders: Primitives
    half_width: jax.Array
    camera: jax.Array
    heading: jax.Array
    sun: jax.Array


def sample_dir(cache_dir: str | os.PathLike | None = None) -> Path:
    """Returns the folder of the sample data set, which is made on the first call.

    Args:
      cache_dir: where programs keep what they can make again; by default `$XDG_CACHE_HOME`, or
        `~/.cache`. The data set goes to `fcfrnet_jax/<SAMPLE_NAME>` in it.

    Raises:
      OSError: the cache folder cannot be written.
      ValueError: something else stands in the data set's place.
    """
    try:
        if cache_dir is None:
            cache_dir = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = Path(cache_dir) / "fcfrnet_jax" / SAMPLE_NAME
        write_sample(root)
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home folder
        raise OSError(
            f"cannot keep the sample data set in a cache folder ({error}); "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return root


def write_sample(
    root: str | os.PathLike,
    frames: int = 6,
    seed: int = 0,
    height: int = HEIGHT,
    width: int = WIDTH,
) -> None:
    """Writes a data set of synthetic frames in the layout of KITTI's depth benchmark.

    `val` and `depth_selection` get `frames` frames, each of its own street; `train` gets one
    drive of half as many, a metre apart; `raw` the colour images and the calibration. The data set
    appears whole or not at all; one that stands there with the same settings is kept. Whichever of
    two processes finishes last leaves the other's work alone. A killed process may leave a hidden
    folder beside `root`, which can be deleted.

    Args:
      root: the folder to make.
      frames: at least 1.
      seed: of the streets.
      height, width: of the uncropped pictures; smaller ones show the same view.

    Raises:
      ValueError: `frames` is below 1, or `root` holds anything but this data set.
      OSError: `root` cannot be written.
    """
    if frames < 1:
        raise ValueError(f"a sample data set needs at least 1 frame, got {frames}")
    root = Path(root)
    settings = {
        "name": SAMPLE_NAME,
        "frames": frames,
        "seed": seed,
        "height": height,
        "width": width,
    }
    if _is_finished(root, settings):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = root.parent / f".{root.name}.{uuid.uuid4().hex}"
    try:
        _write_frames(temporary, frames, seed, height, width)
        write_json(temporary / "sample.json", settings)
        try:
            os.rename(temporary, root)
        except OSError:
            # Another process may have finished first; then its result is as good as this one.
            if not _is_finished(root, settings):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_finished(root: Path, settings: dict[str, object]) -> bool:
    """Whether `root` holds this data set; False where nothing stands in the way of writing it."""
    marker = root / "sample.json"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == settings:
        return True
    if root.is_dir() and not any(root.iterdir()):
        return False
    if root.exists():
        raise ValueError(
            f"{root} exists and is not the sample data set {settings}; "
            "delete it or name another folder"
        )
    return False


def _write_frames(root: Path, frames: int, seed: int, height: int, width: int) -> None:
    scale = np.array([[width / WIDTH], [height / HEIGHT], [1.0]])
    # Scaling moves the outer border of the first pixel, half a pixel from its centre.
    border = np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    intrinsics = scale * (np.array(KITTI_INTRINSICS) + border) - border
    _write_calibration(root / "raw" / DATE / "calib_cam_to_cam.txt", intrinsics, height, width)
    keys = jax.random.split(jax.random.key(seed), frames + 1)
    for number in range((frames + 1) // 2):
        frame = render_scene(keys[frames], float(number), height, width, intrinsics)
        _write_frame(root, "train", 1, FIRST_FRAME + number, frame)
    for number in range(frames):
        frame = render_scene(keys[number], 0.0, height, width, intrinsics)
        _write_frame(root, "val", 2 + number, FIRST_FRAME, frame)
        _write_selection(root, 2 + number, FIRST_FRAME, frame, intrinsics)


def _write_calibration(path: Path, intrinsics: np.ndarray, height: int, width: int) -> None:
    projection = np.concatenate([intrinsics, np.zeros((3, 1))], axis=1)
    path.parent.mkdir(parents=True)
    path.write_text(
        f"S_rect_02: {width:.6e} {height:.6e}\n"
        f"P_rect_02: {' '.join(f'{value:.6e}' for value in projection.ravel())}\n",
        encoding="utf-8",
    )


def _write_frame(root: Path, split: str, drive: int, number: int, frame: Frame) -> None:
    drive_name, file_name = f"{DATE}_drive_{drive:04d}_sync", f"{number:010d}.png"
    depths = root / split / drive_name / "proj_depth"
    write_depth(depths / "velodyne_raw" / "image_02" / file_name, np.asarray(frame.sparse_depth))
    write_depth(depths / "groundtruth" / "image_02" / file_name, np.asarray(frame.ground_truth))
    colours = root / "raw" / DATE / drive_name / "image_02" / "data"
    write_image(colours / file_name, np.asarray(frame.image))


def _write_selection(
    root: Path, drive: int, number: int, frame: Frame, intrinsics: np.ndarray
) -> None:
    """Writes the bottom-centre crop under the name the benchmark gives it."""
    height, width = frame.depth.shape
    crop_height, crop_width = min(CROP[0], height), min(CROP[1], width)
    top, left = height - crop_height, (width - crop_width) // 2
    window = np.s_[top:, left : left + crop_width]
    folder = root / "depth_selection" / "val_selection_cropped"

    def path(kind: str, label: str, suffix: str = "png") -> Path:
        name = f"{DATE}_drive_{drive:04d}_sync_{label}_{number:010d}_image_02.{suffix}"
        return folder / kind / name

    write_image(path("image", "image"), np.asarray(frame.image)[window])
    write_depth(path("velodyne_raw", "velodyne_raw"), np.asarray(frame.sparse_depth)[window])
    write_depth(
        path("groundtruth_depth", "groundtruth_depth"), np.asarray(frame.ground_truth)[window]
    )
    shifted = intrinsics - np.array([[0.0, 0.0, left], [0.0, 0.0, top], [0.0, 0.0, 0.0]])
    text = path("intrinsics", "image", "txt")
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text(" ".join(f"{value:.6f}" for value in shifted.ravel()) + "\n", encoding="utf-8")


@partial(jax.jit, static_argnames=("height", "width"))
def render_scene(
    key: jax.Array,
    travelled: float | jax.Array = 0.0,
    height: int = HEIGHT,
    width: int = WIDTH,
    intrinsics: jax.Array | tuple = KITTI_INTRINSICS,
) -> Frame:
    """Renders one frame of the street that `key` makes, from a car `travelled` metres along it.

    The scanner has 64 beams at KITTI's size (32 from +2 to -8.3 degrees, 32 from -8.8 to -24.3) in
    steps of about 0.17 degrees, and proportionally fewer in smaller pictures, so that sparse depth
    covers about the same share of the pixels. It sits where KITTI's does, so that it sees behind
    the edges of objects. Ranges have 2 cm of noise, end at 80 m, and some are lost.

    Args:
      key: the JAX random key; the same key and distance give the same frame.
      travelled: metres along the street, within about 5 of 0.
      height, width: of the picture in pixels.
      intrinsics: `[3, 3]` in pixels, the centre of the first pixel at (0, 0).
    """
    intrinsics = jnp.asarray(intrinsics, jnp.float32)
    street = make_street(key, travelled)
    noise_key = jax.random.fold_in(key, jnp.rint(1000.0 * jnp.asarray(travelled)).astype(jnp.int32))
    keys = jax.random.split(noise_key)

    directions = camera_rays(height, width, intrinsics, street.heading)
    distance, index = trace(street, street.camera[:, None], directions)
    colour = _shade(street, directions, distance, index, intrinsics[0, 0])
    # Rays have unit length along the optical axis, so their parameter is the depth.
    depth = jnp.where(jnp.isfinite(distance), distance, 0.0).reshape(height, width)
    image = _develop(keys[0], colour.reshape(3, height, width))
    return Frame(image, depth, *_measure(keys[1], street, depth, intrinsics))


def make_street(key: jax.Array, travelled: float | jax.Array = 0.0) -> Street:
    """Draws a street: pavements, houses, parked and driving cars, trees, lamps and hedges."""
    # One block of numbers for everything: each call of the generator costs compile time.
    rows = iter(jax.random.uniform(key, (64, 32)))

    def draw(count: int, low: float, high: float) -> jax.Array:
        return low + (high - low) * next(rows)[:count]

    half_width, lane = draw(1, 5.2, 6.4)[0], draw(1, 1.4, 1.9)[0]
    crowns, trunks = _trees(draw, half_width)
    lamps, posts = _lamps(draw, half_width)
    sides = jnp.array([-1.0, 1.0])
    pavements = _solids(sides * (half_width + 1.6), -0.06, 100, 1.6, 0.06, 150, 0.5, PAVEMENT)
    # The ground is a huge slab: half a metre thick, so that its top stays exact in float32.
    ground = _solids(jnp.zeros(1), 0.25, 0, 2000, 0.25, 2000, 0.3, GROUND)
    boxes = (ground, pavements, _houses(draw, half_width), *_cars(draw, half_width, lane))
    turn = draw(1, -0.9, 0.9)[0]
    elevation = draw(1, 0.5, 0.9)[0]
    sun = jnp.stack(
        [jnp.cos(elevation) * jnp.sin(turn), jnp.sin(elevation), jnp.cos(elevation) * jnp.cos(turn)]
    )
    return Street(
        boxes=_join(*boxes, _hedges(draw, half_width), lamps),
        ellipsoids=crowns,
        cylinders=_join(trunks, posts),
        half_width=half_width,
        camera=jnp.stack([lane, jnp.float32(-CAMERA_HEIGHT), jnp.float32(travelled)]),
        heading=draw(1, -0.06, 0.06)[0],
        sun=-sun,
    )


Draw = Callable[[int, float, float], jax.Array]
Vector = tuple[jax.Array, jax.Array, jax.Array]


def _solids(
    x: jax.Array,
    y: jax.Array | float,
    z: jax.Array | float,
    half_x: jax.Array | float,
    half_y: jax.Array | float,
    half_z: jax.Array | float,
    colour: jax.Array | float,
    material: int,
    yaw: jax.Array | float = 0.0,
) -> Primitives:
    count = x.shape[0]

    def spread(*values: jax.Array | float) -> jax.Array:
        return jnp.stack([jnp.broadcast_to(jnp.float32(v), (count,)) for v in values], axis=-1)

    return Primitives(
        centre=spread(x, y, z),
        half=spread(half_x, half_y, half_z),
        yaw=jnp.broadcast_to(jnp.float32(yaw), (count,)),
        colour=jnp.broadcast_to(jnp.float32(colour), (count, 3)),
        material=jnp.full(count, material),
    )


def _join(*parts: Primitives) -> Primitives:
    return Primitives(*(jnp.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _choose(colours: tuple, number: jax.Array) -> jax.Array:
    return jnp.array(colours)[(len(colours) * number).astype(jnp.int32)]


def _alternate(count: int) -> jax.Array:
    return jnp.where(jnp.arange(count) % 2 == 0, -1.0, 1.0)


def _cars(draw: Draw, half_width: jax.Array, lane: jax.Array) -> tuple[Primitives, ...]:
    """Nine parked cars of which some are missing, one ahead and two oncoming; three boxes each."""
    row = jnp.arange(CARS - 3)
    parked_z = 6.0 + 8.0 * (row // 2) + 3.0 * (row % 2) + draw(CARS - 3, 0.0, 2.5)
    z = jnp.concatenate([parked_z, draw(1, 16.0, 50.0), draw(1, 14.0, 26.0), draw(1, 40.0, 70.0)])
    side = jnp.concatenate([_alternate(CARS - 3), jnp.array([1.0, -1.0, -1.0])])
    x = side * jnp.concatenate([jnp.full(CARS - 3, half_width - 1.05), jnp.full(3, lane)])
    # A missing car is parked under the ground.
    sunk = jnp.where(draw(CARS, 0.0, 1.0) < 0.3, 20.0, 0.0)
    # Traffic keeps to the right: cars on the left come towards the camera.
    yaw = jnp.where(side < 0, jnp.pi, 0.0) + draw(CARS, -0.03, 0.03)
    half_length, waist, roof = draw(CARS, 1.9, 2.35), draw(CARS, 0.85, 1.0), draw(CARS, 0.5, 0.65)
    paint = _choose(PAINTS, draw(CARS, 0.0, 1.0))
    bottom = 0.3
    body_half = 0.5 * (waist - bottom)
    body = _solids(x, sunk - bottom - body_half, z, 0.88, body_half, half_length, paint, CAR, yaw)
    back = 0.12 * half_length * jnp.cos(yaw)
    cabin = _solids(
        x,
        sunk - waist - 0.5 * roof,
        z - back,
        0.74,
        0.5 * roof,
        0.58 * half_length,
        paint,
        CABIN,
        yaw,
    )
    under = _solids(x, sunk - 0.15, z, 0.8, 0.15, 0.78 * half_length, 0.02, PLAIN, yaw)
    return body, cabin, under


def _houses(draw: Draw, half_width: jax.Array) -> Primitives:
    half_length = draw(HOUSES, 4.5, 10.0).reshape(2, -1)
    gap = jnp.maximum(draw(HOUSES, -3.0, 6.0), 0.0).reshape(2, -1)
    z = jnp.cumsum(2.0 * half_length + gap, axis=1) - half_length - 14.0
    x = jnp.repeat(jnp.array([-1.0, 1.0]), HOUSES // 2) * (
        half_width + 9.4 + draw(HOUSES, 0.0, 5.0)
    )
    half_height = draw(HOUSES, 2.8, 6.5)
    plaster = _choose(PLASTERS, draw(HOUSES, 0.0, 1.0))
    return _solids(
        x, -half_height, z.ravel(), 6.0, half_height, half_length.ravel(), plaster, BUILDING
    )


def _trees(draw: Draw, half_width: jax.Array) -> tuple[Primitives, Primitives]:
    """Trees of a trunk and a crown of three ellipsoids, and a wood at the end of the street."""
    x = _alternate(TREES) * (half_width + draw(TREES, 0.7, 2.4))
    z = 9.0 + 13.0 * (jnp.arange(TREES) // 2) + draw(TREES, 0.0, 10.0)
    height, radius = draw(TREES, 2.2, 3.4), draw(TREES, 1.1, 2.0)
    green = draw(3 * TREES + 4, 0.6, 1.3)[:, None] * jnp.array([0.13, 0.2, 0.05])
    third = jnp.tile(jnp.arange(3.0), TREES)
    around = 2.1 * third + jnp.repeat(draw(TREES, 0.0, 6.0), 3)
    crown_radius = jnp.repeat(radius, 3) * draw(3 * TREES, 0.75, 1.1)
    crowns = _solids(
        jnp.repeat(x, 3) + 0.5 * crown_radius * jnp.sin(around),
        -jnp.repeat(height + radius, 3) - 0.6 * (third - 1.0) * crown_radius,
        jnp.repeat(z, 3) + 0.5 * crown_radius * jnp.cos(around),
        crown_radius,
        0.9 * crown_radius,
        crown_radius,
        green[:-4],
        FOLIAGE,
    )
    wood = _solids(
        draw(4, -30.0, 30.0),
        -3.0,
        draw(4, 115.0, 140.0),
        14.0,
        draw(4, 5.0, 9.0),
        6.0,
        green[-4:],
        FOLIAGE,
    )
    girth = draw(TREES, 0.11, 0.22)
    half_trunk = 0.5 * height + 0.3
    trunks = _solids(
        x, -half_trunk, z, girth, half_trunk, girth, jnp.array([0.1, 0.075, 0.05]), PLAIN
    )
    return _join(crowns, wood), trunks


def _lamps(draw: Draw, half_width: jax.Array) -> tuple[Primitives, Primitives]:
    side = _alternate(POLES)
    z = 5.0 + 16.0 * (jnp.arange(POLES) // 2) + draw(POLES, 0.0, 12.0)
    x = side * (half_width + 0.45)
    posts = _solids(x, -3.2, z, 0.07, 3.2, 0.07, 0.3, PLAIN)
    return _solids(x - side * 0.7, -6.4, z, 0.8, 0.06, 0.12, 0.35, PLAIN), posts


def _hedges(draw: Draw, half_width: jax.Array) -> Primitives:
    x = _alternate(HEDGES) * (half_width + draw(HEDGES, 2.9, 3.2))
    half_height = draw(HEDGES, 0.35, 0.8)
    z = draw(HEDGES, 8.0, 60.0)
    green = jnp.array([0.1, 0.17, 0.05])
    return _solids(x, -half_height, z, 0.35, half_height, draw(HEDGES, 3.0, 8.0), green, FOLIAGE)


def camera_rays(height: int, width: int, intrinsics: jax.Array, heading: jax.Array) -> jax.Array:
    """Returns world ray directions `[3, height * width]`, of length 1 along the optical axis."""
    v, u = jnp.mgrid[:height, :width]
    x = (u.ravel() - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v.ravel() - intrinsics[1, 2]) / intrinsics[1, 1]
    return _turn(jnp.stack([x, y, jnp.ones_like(x)]), heading)


def _turn(vectors: jax.Array, yaw: jax.Array) -> jax.Array:
    """Turns `[3, R]` vectors by `yaw` about the vertical, from z towards x."""
    x, y, z = vectors
    turned_x, turned_z = _turn_level(x, z, yaw)
    return jnp.stack([turned_x, jnp.broadcast_to(y, turned_x.shape), turned_z])


def _turn_level(x: jax.Array, z: jax.Array, yaw: jax.Array) -> tuple[jax.Array, jax.Array]:
    cos, sin = jnp.cos(yaw), jnp.sin(yaw)
    return cos * x + sin * z, cos * z - sin * x


def trace(street: Street, origins: jax.Array, directions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Finds the first solid on each ray.

    Args:
      origins: `[3, R]` or `[3, 1]`, in the world, outside every solid.
      directions: `[3, R]`, of any length.

    Returns:
      The distance `[R]` in units of the direction's length, infinite where the ray hits nothing,
      and the index `[R]` of the solid in the order boxes, ellipsoids, cylinders.
    """
    (ox, oy, oz), (dx, dy, dz) = origins, directions
    best = (jnp.full(dx.shape, jnp.inf), jnp.zeros(dx.shape, jnp.int32))
    first = 0
    for hit, solids in (
        (_hit_box, street.boxes),
        (_hit_ellipsoid, street.ellipsoids),
        (_hit_cylinder, street.cylinders),
    ):
        count = solids.yaw.shape[0]

        def nearer(best: tuple, item: tuple, hit: Callable = hit) -> tuple[tuple, None]:
            index, ((cx, cy, cz), (hx, hy, hz), yaw, _, _) = item
            px, pz = _turn_level(ox - cx, oz - cz, -yaw)
            qx, qz = _turn_level(dx, dz, -yaw)
            # Coordinates stay apart: stacked, they would keep XLA from fusing the test.
            distance = hit((px / hx, (oy - cy) / hy, pz / hz), (qx / hx, dy / hy, qz / hz))
            closer = distance < best[0]
            return (jnp.where(closer, distance, best[0]), jnp.where(closer, index, best[1])), None

        best, _ = jax.lax.scan(nearer, best, (jnp.arange(first, first + count), solids))
        first += count
    return best


# The three tests below see a solid scaled to half extents of 1 and return the entry, or infinity.


def _hit_box(origin: Vector, direction: Vector) -> jax.Array:
    entry, leave = jnp.float32(-jnp.inf), jnp.float32(jnp.inf)
    for o, d in zip(origin, direction, strict=True):
        inverse = 1.0 / jnp.where(jnp.abs(d) < 1e-9, 1e-9, d)
        entry = jnp.maximum(entry, -o * inverse - jnp.abs(inverse))
        leave = jnp.minimum(leave, -o * inverse + jnp.abs(inverse))
    return jnp.where((entry < leave) & (entry > 0), entry, jnp.inf)


def _hit_ellipsoid(origin: Vector, direction: Vector) -> jax.Array:
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    # |d|^2 - |o x d|^2 loses far fewer digits than the textbook b^2 - a c.
    cross = (oy * dz - oz * dy) ** 2 + (oz * dx - ox * dz) ** 2 + (ox * dy - oy * dx) ** 2
    square = dx * dx + dy * dy + dz * dz
    root = jnp.sqrt(jnp.maximum(square - cross, 0.0))
    entry = (-(ox * dx + oy * dy + oz * dz) - root) / square
    return jnp.where((square > cross) & (entry > 0), entry, jnp.inf)


def _hit_cylinder(origin: Vector, direction: Vector) -> jax.Array:
    """An open upright tube, seen from outside and from below its top."""
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    square = dx * dx + dz * dz
    cross = (ox * dz - oz * dx) ** 2
    entry = (-(ox * dx + oz * dz) - jnp.sqrt(jnp.maximum(square - cross, 0.0))) / square
    hit = (square > cross) & (entry > 0) & (jnp.abs(oy + entry * dy) < 1)
    return jnp.where(hit, entry, jnp.inf)


def _shade(
    street: Street, directions: jax.Array, distance: jax.Array, index: jax.Array, focal: jax.Array
) -> jax.Array:
    """Returns linear light `[3, R]`: sun with cast shadows, sky light, haze."""
    solids = _join(street.boxes, street.ellipsoids, street.cylinders)
    centre, half, yaw, colour, material = (jnp.take(array.T, index, axis=-1) for array in solids)
    hit = jnp.isfinite(distance)
    reach = jnp.where(hit, distance, 1.0)
    unit = _unit(directions)
    # Clouds live on a plane overhead, so that they shrink towards the horizon.
    overhead = 3.0 * unit / jnp.maximum(-unit[1:2], 0.03)
    point = jnp.where(hit, street.camera[:, None] + reach * directions, overhead)
    noises = jax.lax.map(lambda frequency: _noise(frequency * point), jnp.array(NOISES))

    local = _turn(point - centre, -yaw)
    boxes, rounds = street.boxes.yaw.shape[0], street.ellipsoids.yaw.shape[0]
    shape = (index >= boxes).astype(jnp.int32) + (index >= boxes + rounds)
    local_normal = _normal(local, half, shape)
    ruffle = jnp.where(material == FOLIAGE, 1.3 * (noises[2] - 0.5), 0.0)
    normal = _unit(_turn(local_normal, yaw) + ruffle)
    # The size of a pixel on the surface, in metres; details below it fade out.
    facing = jnp.abs(jnp.sum(local_normal * _turn(unit, -yaw), axis=0))
    pixel = reach / (focal * jnp.maximum(facing, 0.02))

    albedo = jnp.select(
        [material == kind for kind in (GROUND, PAVEMENT, BUILDING, CAR, CABIN, FOLIAGE)],
        [
            _ground(point, pixel, noises, street.half_width),
            _pavement(point, pixel, noises),
            _building(local, half, local_normal, colour, pixel, noises),
            _car(local, half, local_normal, colour, point),
            _cabin(local, half, local_normal, colour),
            colour * (0.25 + 1.2 * noises[2] * (0.4 + noises[1]) + 0.3 * noises[3]),
        ],
        colour,
    )
    # Start clear of the surface, or rounding makes it shade itself.
    blocked, _ = trace(street, point + 0.03 * normal, street.sun[:, None] + 0.0 * point)
    sunlight = jnp.maximum(jnp.sum(normal * street.sun[:, None], axis=0), 0.0) * jnp.isinf(blocked)
    light = jnp.array([[1.8], [1.65], [1.42]]) * sunlight + jnp.array([[0.17], [0.21], [0.28]]) * (
        0.65 - 0.35 * normal[1]
    )
    haze = 1.0 - jnp.exp(-reach / 450.0)
    lit = albedo * light * (1.0 - haze) + jnp.array([[0.75], [0.82], [0.9]]) * haze
    return jnp.where(hit, lit, _sky(unit, noises))


def _normal(local: jax.Array, half: jax.Array, shape: jax.Array) -> jax.Array:
    """The outward unit normal `[3, R]` at `local` points of solids."""
    scaled = local / half
    face = jnp.abs(scaled) == jnp.max(jnp.abs(scaled), axis=0)
    flat = jnp.where(face, jnp.sign(scaled), 0.0)
    level = jnp.array([[1.0], [0.0], [1.0]])
    return _unit(
        jnp.select([shape == BOX, shape == ELLIPSOID], [flat, scaled / half], level * local)
    )


def _unit(vectors: jax.Array) -> jax.Array:
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=0), 1e-9)


def _noise(point: jax.Array) -> jax.Array:
    """Value noise in [0, 1] with one lattice point a unit, at points `[3, R]`."""
    cell = jnp.floor(point)
    weight = point - cell
    weight = weight * weight * (3.0 - 2.0 * weight)
    total = jnp.zeros(point.shape[1])
    for corner in np.ndindex(2, 2, 2):
        offset = jnp.array(corner)[:, None]
        near = jnp.prod(jnp.where(offset == 1, weight, 1.0 - weight), axis=0)
        total += near * _hash(cell + offset)
    return total


def _hash(cell: jax.Array) -> jax.Array:
    """A repeatable number in [0, 1] for each whole-numbered `[3, R]` cell."""
    x, y, z = cell.astype(jnp.int32).astype(jnp.uint32)
    bits = x * jnp.uint32(0x8DA6B343) ^ y * jnp.uint32(0xD8163841) ^ z * jnp.uint32(0xCB1AB31F)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x2C1B3C6D)
    bits = (bits ^ (bits >> 12)) * jnp.uint32(0x297A2D39)
    return (bits ^ (bits >> 15)).astype(jnp.float32) / 4294967296.0


def _mark(offset: jax.Array, half_width: float, pixel: jax.Array) -> jax.Array:
    """1 within `half_width` of 0, 0 outside, with an edge as soft as one pixel."""
    soft = jnp.maximum(pixel, 1e-3)
    share = jnp.minimum(2.0 * half_width / soft, 1.0)
    return share * jnp.clip((half_width - jnp.abs(offset)) / soft + 0.5, 0.0, 1.0)


def _ground(
    point: jax.Array, pixel: jax.Array, noises: jax.Array, half_width: jax.Array
) -> jax.Array:
    x, _, z = point
    grain = (noises[4] - 0.5) * jnp.clip(0.06 / pixel, 0.0, 1.0)
    patches = noises[0] - 0.5
    asphalt = 0.16 + 0.06 * patches + 0.09 * grain
    dashes = _mark(x, 0.07, pixel) * (jnp.mod(z, 9.0) < 4.0)
    edge = _mark(jnp.abs(x) - (half_width - 2.15), 0.06, pixel)
    paint = jnp.maximum(dashes, edge) * (0.8 + 0.4 * patches)
    road = asphalt + (0.75 - asphalt) * paint
    grass = jnp.array([[0.16], [0.2], [0.07]]) * (0.6 + 0.6 * noises[2] + 0.5 * grain)
    return jnp.where(jnp.abs(x) < half_width + 3.0, road, grass)


def _pavement(point: jax.Array, pixel: jax.Array, noises: jax.Array) -> jax.Array:
    x, y, z = point
    slab = jnp.stack([jnp.floor(2.0 * x), jnp.zeros_like(y), jnp.floor(2.0 * z)])
    joint = jnp.maximum(
        _mark(jnp.mod(2.0 * x, 1.0) - 0.5, 0.03, 2.0 * pixel),
        _mark(jnp.mod(2.0 * z, 1.0) - 0.5, 0.03, 2.0 * pixel),
    )
    tone = 0.27 + jnp.where(pixel < 0.4, 0.08 * (_hash(slab) - 0.5), 0.0)
    stone = (tone + 0.1 * (noises[0] - 0.5)) * (1.0 - 0.4 * joint)
    return stone * jnp.array([[1.05], [1.0], [0.93]])


def _building(
    local: jax.Array,
    half: jax.Array,
    normal: jax.Array,
    colour: jax.Array,
    pixel: jax.Array,
    noises: jax.Array,
) -> jax.Array:
    """Plaster with rows of framed windows, a dark plinth and a cornice."""
    along = jnp.where(jnp.abs(normal[0]) > 0.5, local[2], local[0])
    height = half[1] - local[1]
    column, floor = jnp.floor(along / 2.6), jnp.floor(height / 2.9)
    x, y = along - 2.6 * column - 1.3, height - 2.9 * floor - 1.6
    room = jnp.stack([column, floor, jnp.floor(10.0 * half[2])])
    below_eaves = 2.9 * (floor + 1.0) < 2.0 * half[1] - 0.2
    frame = _mark(x, 0.72, pixel) * _mark(y, 0.88, pixel) * below_eaves
    pane = (
        _mark(x, 0.58, pixel) * _mark(y, 0.74, pixel) * (1.0 - _mark(x, 0.04, pixel)) * below_eaves
    )
    stains = 0.85 + 0.2 * noises[0] + 0.12 * noises[1] + 0.06 * noises[3]
    wall = colour * stains * jnp.where(height < 0.6, 0.55, 1.0)
    wall = jnp.where(2.0 * half[1] - height < 0.4, jnp.array([[0.22], [0.1], [0.07]]), wall)
    wall = wall + (0.75 - wall) * frame
    glass = jnp.array([[0.05], [0.07], [0.1]]) * (0.4 + 2.5 * _hash(room))
    return wall + (glass - wall) * pane


def _car(
    local: jax.Array, half: jax.Array, normal: jax.Array, colour: jax.Array, point: jax.Array
) -> jax.Array:
    """Paint with wheels, a dark sill, lights (red behind, white in front) and a number plate."""
    height = -point[1]
    on_side = jnp.abs(normal[0]) > 0.5
    wheel = jnp.hypot(jnp.abs(local[2]) - 0.62 * half[2], height - 0.32) < 0.36
    sill = (height < 0.4) | (on_side & wheel)
    on_end = jnp.abs(normal[2]) > 0.5
    lamp = on_end & (jnp.abs(jnp.abs(local[0]) - 0.7) < 0.16) & (jnp.abs(height - 0.72) < 0.1)
    lamp_colour = jnp.where(
        local[2] < 0, jnp.array([[0.6], [0.02], [0.02]]), jnp.array([[0.9], [0.9], [0.85]])
    )
    plate = on_end & (jnp.abs(local[0]) < 0.26) & (jnp.abs(height - 0.55) < 0.06)
    return jnp.select(
        [lamp, plate, sill], [lamp_colour, jnp.full((3, 1), 0.8), 0.08 * colour], colour
    )


def _cabin(local: jax.Array, half: jax.Array, normal: jax.Array, colour: jax.Array) -> jax.Array:
    """Paint with windows between pillars."""
    scaled = jnp.abs(local / half)
    across = jnp.where(jnp.abs(normal[0]) > 0.5, scaled[2], scaled[0])
    pillar = (across > 0.9) | ((across < 0.06) & (jnp.abs(normal[0]) > 0.5))
    glass = (jnp.abs(normal[1]) < 0.5) & ~pillar & (local[1] / half[1] > -0.75)
    return jnp.where(glass, jnp.array([[0.04], [0.05], [0.06]]), colour)


def _sky(directions: jax.Array, noises: jax.Array) -> jax.Array:
    up = jnp.clip(-directions[1], 0.0, 1.0)
    blue = jnp.array([[0.2], [0.42], [0.85]])
    white = jnp.array([[0.95], [1.0], [1.0]])
    sky = white + (blue - white) * jnp.minimum(2.8 * up, 1.0)
    cloud = 0.65 * noises[0] + 0.35 * noises[1]
    return sky + (1.0 - sky) * jnp.clip(2.2 * (cloud - 0.45), 0.0, 0.8)


def _develop(key: jax.Array, colour: jax.Array) -> jax.Array:
    """Turns linear light `[3, H, W]` into a uint8 picture `[H, W, 3]`: lens blur, gamma, noise."""
    padded = jnp.pad(jnp.minimum(colour, 1.2), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:]
    blurred = 0.25 * rows[..., :-2] + 0.5 * rows[..., 1:-1] + 0.25 * rows[..., 2:]
    picture = 255.0 * jnp.maximum(blurred, 0.0) ** (1.0 / 2.2)
    picture += 3.0 * jax.random.normal(key, picture.shape)
    return jnp.moveaxis(jnp.rint(jnp.clip(picture, 0.0, 255.0)).astype(jnp.uint8), 0, -1)


def _scan(
    street: Street,
    height: int,
    width: int,
    intrinsics: jax.Array,
    advance: jax.Array,
    pitch: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Scans the street `advance` metres `[S]` ahead of the camera, tilted up by `pitch` `[S]`.

    Returns the origins `[3, S, R]` and unit directions `[3, S, R]` of all rays, and their ranges
    `[S, R]` in metres, infinite without an echo.
    """
    # The HDL-64E's beams: two blocks, the upper one denser.
    elevations = np.concatenate([2.0 - np.arange(32) / 3.0, -8.83 - np.arange(32) / 2.0])
    beams = max(2, round(SCANNER_BEAMS * height / HEIGHT))
    elevations = np.interp(
        np.linspace(0, SCANNER_BEAMS - 1, beams), range(SCANNER_BEAMS), elevations
    )
    left = jnp.arctan(intrinsics[0, 2] / intrinsics[0, 0]) + 0.03
    right = jnp.arctan((width - intrinsics[0, 2]) / intrinsics[0, 0]) + 0.03
    azimuth = jnp.linspace(-left, right, round(486 * width / WIDTH))
    tilt = pitch[:, None] + jnp.radians(jnp.asarray(elevations, jnp.float32))
    advance, tilt, azimuth = (
        grid.ravel()
        for grid in jnp.broadcast_arrays(advance[:, None, None], tilt[..., None], azimuth)
    )
    level = jnp.cos(tilt)
    directions = jnp.stack([level * jnp.sin(azimuth), -jnp.sin(tilt), level * jnp.cos(azimuth)])
    directions = _turn(directions, street.heading)
    mount = _turn(jnp.array(SCANNER)[:, None], street.heading)
    origins = street.camera[:, None] + mount + jnp.array([[0.0], [0.0], [1.0]]) * advance
    ranges, _ = trace(street, origins, directions)
    ranges = jnp.where(ranges <= SCANNER_RANGE, ranges, jnp.inf)
    by_scan = (pitch.shape[0], -1)
    return origins.reshape(3, *by_scan), directions.reshape(3, *by_scan), ranges.reshape(by_scan)


def _measure(
    key: jax.Array, street: Street, depth: jax.Array, intrinsics: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns sparse depth, from the first scan, and ground truth, from all of them."""
    height, width = depth.shape
    noise_key, chance_key, pitch_key = jax.random.split(key, 3)
    advance = jnp.array(SCANS)
    # A driving car nods a little; without it the level beams of all scans would fall together.
    pitch = 0.006 * jax.random.uniform(pitch_key, advance.shape, minval=-1.0) * (advance != 0.0)
    origins, directions, ranges = _scan(street, height, width, intrinsics, advance, pitch)
    chance = jax.random.uniform(chance_key, ranges.shape)

    lost = 0.03 + 0.4 * (ranges[0] / SCANNER_RANGE) ** 2
    noisy = ranges[0] + 0.02 * jax.random.normal(noise_key, ranges[0].shape)
    noisy = jnp.where(chance[0] > lost, noisy, jnp.inf)
    points = origins[:, 0] + noisy * directions[:, 0]
    pixel, z = _project(points, street, height, width, intrinsics)
    nearest = jnp.full(height * width, jnp.inf).at[pixel].min(z, mode="drop")
    sparse_depth = jnp.where(jnp.isfinite(nearest), nearest, 0.0).reshape(height, width)

    points = (origins + ranges * directions).reshape(3, -1)
    pixel, z = _project(points, street, height, width, intrinsics)
    true = depth.ravel()[jnp.minimum(pixel, height * width - 1)]
    # The benchmark's check against stereo loses good points too: here one in three.
    kept = (chance.ravel() > 1.0 / 3.0) & (jnp.abs(z - true) < 0.03 * true)
    pixel = jnp.where(kept, pixel, height * width)
    hit = jnp.zeros(height * width, bool).at[pixel].set(True, mode="drop").reshape(height, width)
    return sparse_depth, jnp.where(hit, depth, 0.0)


def _project(
    points: jax.Array, street: Street, height: int, width: int, intrinsics: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns each world point's pixel, `v * width + u` or past the end if not seen, and depth."""
    x, y, z = _turn(points - street.camera[:, None], -street.heading)
    u = jnp.rint(intrinsics[0, 0] * x / z + intrinsics[0, 2])
    v = jnp.rint(intrinsics[1, 1] * y / z + intrinsics[1, 2])
    # Points at infinity have coordinates that are not numbers and fail these comparisons.
    seen = (z > 0.1) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return jnp.where(seen, v * width + u, height * width).astype(jnp.int32), z
