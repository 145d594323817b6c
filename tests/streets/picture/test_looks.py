"""The looks of streets: light, weather and the state of the road."""

import jax
import numpy as np

from fcfrnet_jax.streets.picture.looks import looks
from tests.streets.conftest import pick


def test_looks_differ_between_streets(streets):
    street = pick(streets, 0)
    numbers = jax.random.bits(jax.random.key(1), 64)
    many = jax.jit(jax.vmap(lambda number: looks(street._replace(look=number))))(numbers)
    overcast = np.asarray(many.overcast)
    assert 0.2 < (overcast == 0).mean() < 0.8
    assert (overcast > 0.7).any()
    assert np.asarray(many.asphalt).std() > 0.03
    assert np.ptp(np.log2(np.asarray(many.exposure))) > 1


def test_a_street_has_the_same_look_from_everywhere(streets):
    street = pick(streets, 0)
    ahead = street._replace(camera=street.camera + 1.0)
    jax.tree.map(np.testing.assert_array_equal, looks(ahead), looks(street))
