"""Converts a released checkpoint; the same as `fcfrnet-convert`.

python convert_paddle_weights.py INPUT.pdparams OUTPUT_DIR
"""

from fcfrnet_jax.commands.convert import main

if __name__ == "__main__":
    main()
