"""The light in rendered streets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.streets.picture.looks import looks
from fcfrnet_jax.streets.picture.shading import STRIP, shade
from fcfrnet_jax.streets.rays.raycast import trace
from fcfrnet_jax.streets.scene.solids import GROUND, PLAIN, SUNK, solids
from tests.streets.conftest import pick

FOCAL = 720.0
SUN = np.array([0.0, -0.8, 0.6])
# The same number of rays in all tests, so that shading is compiled once: a strip and a few more.
RAYS = STRIP + 7


@jax.jit
def see(street, directions):
    distance, index = trace(street, street.camera[:, None], directions)
    return distance, shade(street, directions, distance, index, FOCAL)


@pytest.fixture(scope="module")
def street(streets):
    """Endless grass, and a plate of 8 m by 8 m that floats 3 m above it, at z = 30."""
    base = pick(streets, 0)

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
    """`RAYS` rays to points in the world."""
    grid = np.stack(np.broadcast_arrays(x, y, z, np.zeros(RAYS))[:3])
    way = grid - np.asarray(street.camera)[:, None]
    return jnp.asarray(way / way[2], jnp.float32)


def with_look(street, wanted):
    """The street with a seed whose look satisfies a condition."""
    find = jax.jit(looks)
    for number in range(200):
        street = street._replace(look=jnp.uint32(number))
        if wanted(find(street)):
            return street
    raise AssertionError("no such look")


@pytest.mark.nightly
def test_shadowed_ground_is_darker(street):
    street = with_look(street, lambda look: look.overcast == 0)
    # The shadow of the plate, 3 m below it, is 3 * 0.6 / 0.8 m nearer to the camera.
    across = np.linspace(10.0, 30.0, RAYS)
    sun = np.asarray(street.sun)
    shift = sun / sun[1] * 3.0
    distance, light = see(street, towards(street, across, 0.0, 30.0 + shift[2]))
    np.testing.assert_allclose(distance, 30.0 + shift[2], rtol=1e-3)
    shadow = np.abs(across - 20.0 - shift[0]) < 3.5
    open_ground = np.abs(across - 20.0 - shift[0]) > 4.5
    assert light[:, shadow].mean() < 0.5 * light[:, open_ground].mean()


def test_haze_moves_distant_colours_towards_one(street):
    street = with_look(street, lambda look: look.haze < 500)
    z = np.geomspace(20.0, 800.0, RAYS)
    _, light = see(street, towards(street, 30.0, 0.0, z))
    far = np.asarray(light[:, -1:])
    difference = np.abs(np.asarray(light) - far).sum(axis=0)
    means = [part.mean() for part in np.array_split(difference, 4)]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("seed", range(4))
def test_light_is_finite_for_sky_and_grazing_rays(seed, streets):
    street = pick(streets, seed)
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


def test_light_does_not_depend_on_the_strip_of_a_ray(street):
    copies = 3
    directions = towards(street, np.linspace(-30, 30, RAYS), -0.5, 40.0)[:, :: copies + 1]
    many = jnp.tile(directions, (1, copies + 1))[:, :RAYS]
    light = np.asarray(see(street, many)[1])
    for copy in range(1, copies):
        start = copy * directions.shape[1]
        again = light[:, start : start + directions.shape[1]]
        np.testing.assert_allclose(again, light[:, : directions.shape[1]], atol=2e-3)
