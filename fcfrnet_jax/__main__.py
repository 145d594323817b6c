"""`python -m fcfrnet_jax`, the same as `fcfrnet`."""

from fcfrnet_jax.main import main

if __name__ == "__main__":
    main()
