"""Training batches of frames from files, augmented by the devices that train on them."""

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
    """Moves the batches of a data pipeline to the devices and augments them there.

    How an example is augmented depends on the seed and its position in the stream alone.

    Args:
      batches: of `data.train_pipeline.make_train_dataset`.
      settings: how to augment.
      seed: not negative.

    Returns:
      For each batch the `index` of its examples `[b]` and its sharded inputs `[D, b / D, ...]`,
      which the devices may still be computing.
    """

    def vary(example: Example) -> Example:
        example = dict(example)
        key = jax.random.fold_in(jax.random.key(seed), example.pop("position"))
        return augment(key, example, settings)

    on_devices = parallel.map_examples(vary)
    wanted = {*INPUTS, *NEAR_INPUTS}
    for batch in batches:
        inputs = {name: leaf for name, leaf in batch.items() if name in wanted}
        inputs["position"] = batch["position"].astype(np.uint32)
        yield batch["index"], on_devices(parallel.shard(inputs))
