"""Training batches of frames from files, augmented on the devices."""

from collections.abc import Iterable, Iterator

import jax
import numpy as np

from fcfrnet_jax import parallel
from fcfrnet_jax.data.augment import Augmentation, Example, augment
from fcfrnet_jax.evaluation.depth_maps import INPUTS
from fcfrnet_jax.parallel import Batch
from fcfrnet_jax.training.objective import NEAR_INPUTS


def augmented_batches(
    batches: Iterable[dict[str, np.ndarray]], settings: Augmentation, seed: int
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Copies the batches of a data pipeline to the devices and augments them there.

    The augmentation of an example depends only on the seed and its position in the stream.

    Args:
      batches: batches of `data.train_pipeline.make_train_dataset`; leaving out beams needs
        calibrated frames, see `data.frame.check_calibrated`.
      settings: the augmentation.
      seed: not negative.

    Returns:
      For each batch the `index` of its examples, `[b]`, and its sharded inputs, `[D, b / D, ...]`.
      Batches are returned before the devices have finished computing them.
    """

    def augment_one(example: Example) -> Example:
        example = dict(example)
        key = jax.random.fold_in(jax.random.key(seed), example.pop("position"))
        return augment(key, example, settings)

    augment_all = parallel.map_examples(augment_one)
    wanted = {*INPUTS, *NEAR_INPUTS}
    for batch in batches:
        inputs = {name: leaf for name, leaf in batch.items() if name in wanted}
        inputs["position"] = batch["position"].astype(np.uint32)
        yield batch["index"], augment_all(parallel.shard(inputs))
