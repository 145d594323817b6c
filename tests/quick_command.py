"""The command line with a network and a renderer that compile in a fraction of the time."""

import pytest

from fcfrnet_jax.main import main
from tests import numbered_scenes, tiny_networks

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny_networks.shorten_resnet(monkeypatch)
        numbered_scenes.put_in_place(monkeypatch)
        main()
