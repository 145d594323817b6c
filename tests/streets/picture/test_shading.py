"""The light in rendered streets, and the camera that takes it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.streets.picture.develop import develop as develop_eagerly
from fcfrnet_jax.streets.picture.looks import looks
from fcfrnet_jax.streets.picture.shading import STRIP, shade
from fcfrnet_jax.streets.rays.raycast import trace
from fcfrnet_jax.streets.scene.solids import GROUND, PLAIN, SUNK, solids
from fcfrnet_jax.streets.scene.street import make_street
from fcfrnet_jax.streets.scene.value_noise import joints, mark, value_noise
from fcfrnet_jax.streets.strips import in_strips

develop = jax.jit(develop_eagerly)
FOCAL = 720.0
SUN = np.array([0.0, -0.8, 0.6])
# One number of rays for all, so that there is one compilation: a strip and a bit.
RAYS = STRIP + 7


@jax.jit
def see(street, directions):
    distance, index = trace(street, street.camera[:, None], directions)
    return distance, shade(street, directions, distance, index, FOCAL)


@pytest.fixture(scope="module")
def street():
    """Grass without end, and a plate of 8 m by 8 m that floats 3 m above it, at z = 30."""
    base = jax.jit(make_street)(jax.random.key(0))

    def away(group):
        return group._replace(centre=group.centre.at[:, 1].set(SUNK))

    boxes = away(base.boxes)
    ground = solids((0.0, 1.0, 0.0), (900.0, 1.0, 900.0), 0.3, GROUND)
    plate = solids((20.0, -3.2, 30.0), (4.0, 0.2, 4.0), 0.3, PLAIN)
    for place, box in enumerate((ground, plate)):
        boxes = jax.tree.map(lambda all_, one, k=place: all_.at[k].set(one[0]), boxes, box)
    return base._replace(
        boxes=boxes,
        ellipsoids=away(base.ellipsoids),
        cylinders=away(base.cylinders),
        camera=jnp.array([0.0, -2.0, 0.0]),
        sun=jnp.asarray(SUN, jnp.float32),
    )


def towards(street, x, y, z):
    """Rays to points in the world; `see` wants them all at once."""
    grid = np.stack(np.broadcast_arrays(x, y, z, np.zeros(RAYS))[:3])
    way = grid - np.asarray(street.camera)[:, None]
    return jnp.asarray(way / way[2], jnp.float32)


def with_look(street, wanted):
    """The street in another light, that looks as wanted."""
    for number in range(200):
        street = street._replace(look=jnp.uint32(number))
        if wanted(looks(street)):
            return street
    raise AssertionError("no such look")


def test_shadowed_ground_is_darker(street):
    street = with_look(street, lambda look: look.overcast == 0)
    # The shadow of the plate's middle, 3 m below it, falls 3 * 0.6 / 0.8 m towards the camera.
    across = np.linspace(10.0, 30.0, RAYS)
    sun = np.asarray(street.sun)
    shift = sun / sun[1] * 3.0
    distance, light = see(street, towards(street, across, 0.0, 30.0 + shift[2]))
    np.testing.assert_allclose(distance, 30.0 + shift[2], rtol=1e-3)
    shadow = np.abs(across - 20.0 - shift[0]) < 3.5
    open_ground = np.abs(across - 20.0 - shift[0]) > 4.5
    assert light[:, shadow].mean() < 0.5 * light[:, open_ground].mean()


def test_haze_brings_everything_towards_one_colour(street):
    street = with_look(street, lambda look: look.haze < 500)
    z = np.geomspace(20.0, 800.0, RAYS)
    _, light = see(street, towards(street, 30.0, 0.0, z))
    far = np.asarray(light[:, -1:])
    difference = np.abs(np.asarray(light) - far).sum(axis=0)
    means = [part.mean() for part in np.array_split(difference, 4)]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("seed", range(4))
def test_light_is_finite_for_sky_and_grazing_rays(seed):
    street = jax.jit(make_street)(jax.random.key(seed))
    random = np.random.default_rng(seed)
    directions = np.stack([random.uniform(-1, 1, RAYS), random.uniform(-1, 1, RAYS), np.ones(RAYS)])
    directions[1, :60] = random.uniform(-1e-3, 1e-3, 60)
    directions[:, 60:63] = [[0, 1e-9, 0], [-1, 1, 0], [1e-9, 0, 1]]
    distance, light = see(street, jnp.asarray(directions, jnp.float32))
    assert 0.1 < np.isfinite(distance).mean() < 0.9
    assert np.isfinite(light).all()
    assert np.min(light) >= 0


def test_the_same_street_gives_the_same_light(street):
    rays = towards(street, np.linspace(-30, 30, RAYS), -1.0, 40.0)
    np.testing.assert_array_equal(see(street, rays)[1], see(street, rays)[1])
    other = street._replace(look=street.look + 1)
    assert np.abs(see(street, rays)[1] - see(other, rays)[1]).max() > 0.01


def test_texture_fades_to_its_mean_at_a_distance(street):
    spread = {}
    for z in (6.0, 300.0):
        # Neighbouring points, well within one pixel of the coarsest patches.
        x = 12.0 + np.linspace(0.0, 0.5, RAYS)
        _, light = see(street, towards(street, x, 0.0, z))
        spread[z] = np.std(light, axis=1).mean() / np.mean(light)
    assert spread[300.0] < 0.2 * spread[6.0]


def test_looks_differ_from_street_to_street(street):
    numbers = jax.random.bits(jax.random.key(1), 64)
    many = jax.jit(jax.vmap(lambda number: looks(street._replace(look=number))))(numbers)
    overcast = np.asarray(many.overcast)
    assert 0.2 < (overcast == 0).mean() < 0.8
    assert (overcast > 0.7).any()
    assert np.asarray(many.asphalt).std() > 0.03
    assert np.ptp(np.log2(np.asarray(many.exposure))) > 1


def test_constant_light_develops_to_a_constant_but_for_noise():
    picture = np.asarray(develop(jax.random.key(3), jnp.full((3, 64, 96), 0.25)), np.float64)
    assert picture.shape == (64, 96, 3)
    # A gamma of 2 makes 0.25 half of white.
    assert abs(picture.mean() - 127.5) < 1.5
    assert 0.3 < picture.std() < 6.0


def test_brighter_light_gives_a_brighter_picture():
    light = jnp.broadcast_to(jnp.linspace(0.0, 1.0, 12)[:, None, None, None], (12, 3, 32, 32))
    pictures = jax.vmap(develop, in_axes=(None, 0))(jax.random.key(0), light)
    means = np.asarray(pictures, np.float64).mean(axis=(1, 2, 3))
    assert (np.diff(means) > 2).all()


def test_noise_grows_with_light_and_is_new_for_each_key():
    levels = [np.asarray(develop(jax.random.key(5), jnp.full((3, 64, 64), v))) for v in (0.02, 0.5)]
    assert levels[0].std() < levels[1].std()
    other = np.asarray(develop(jax.random.key(6), jnp.full((3, 64, 64), 0.5)))
    correlation = np.corrcoef(levels[1].ravel(), other.ravel())[0, 1]
    assert abs(correlation) < 0.05


def test_an_edge_is_blurred_by_less_than_two_pixels():
    light = jnp.broadcast_to(jnp.where(jnp.arange(40) < 20, 0.1, 0.6), (3, 30, 40))
    row = np.asarray(develop(jax.random.key(1), light), np.float64).mean(axis=(0, 2))
    assert row[18] < row[19] - 1 < row[20] - 20
    np.testing.assert_allclose(row[[5, 30]], 255 * np.sqrt([0.0982, 0.5992]), atol=2)


def test_noise_interpolates_hashed_lattice_points():
    points = np.random.default_rng(0).uniform(-20, 20, (3, 500)).astype(np.float32)
    noise = np.asarray(value_noise(*points))
    assert ((noise >= 0) & (noise < 1)).all()
    assert abs(noise.mean() - 0.5) < 0.05
    cell = np.floor(points)
    weight = np.prod([t * t * (3 - 2 * t) for t in [points - cell]], axis=0)
    expected = 0.0
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(np.array(corner)[:, None], weight, 1 - weight), axis=0)
        expected += share * np.asarray(value_noise(*(cell + np.array(corner)[:, None])))
    np.testing.assert_allclose(noise, expected, atol=1e-5)


@pytest.mark.parametrize("footprint", [0.01, 0.1, 0.4, 3.0])
def test_lines_keep_their_share_of_the_area(footprint):
    position = jnp.linspace(0.0, 50.0, 5001)[:-1]
    share = joints(position, 0.5, 0.05, footprint).mean()
    assert abs(share - 0.2) < 0.045
    single = mark(position - 25.0, 0.3, footprint).sum() * 0.01
    assert single == pytest.approx(0.6, abs=0.02)


def test_strips_join_to_the_whole():
    numbers = jnp.arange(3.0 * 11).reshape(3, 11)
    doubled, total = in_strips(lambda a, b: (2 * a, a.sum(0) + b), 4, numbers, numbers[0])
    np.testing.assert_array_equal(doubled, 2 * numbers)
    np.testing.assert_array_equal(total, numbers.sum(0) + numbers[0])


def test_light_does_not_depend_on_a_rays_place_in_the_strips(street):
    copies = 3
    directions = towards(street, np.linspace(-30, 30, RAYS), -0.5, 40.0)[:, :: copies + 1]
    many = jnp.tile(directions, (1, copies + 1))[:, :RAYS]
    light = np.asarray(see(street, many)[1])
    for copy in range(1, copies):
        start = copy * directions.shape[1]
        again = light[:, start : start + directions.shape[1]]
        np.testing.assert_allclose(again, light[:, : directions.shape[1]], atol=2e-3)
