"""The command line with a network and with scenes that compile in a fraction of the time."""

import pytest
from absl import app

from fcfrnet_jax import main
from tests import numbered_scenes, tiny_networks

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny_networks.shorten_resnet(monkeypatch)
        numbered_scenes.put_in_place(monkeypatch)
        app.run(main.guarded_main, flags_parser=main.parse)
