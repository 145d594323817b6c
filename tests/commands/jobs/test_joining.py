"""How processes join a job."""

import socket

import pytest

from fcfrnet_jax.commands.jobs.joining import check_job


@pytest.mark.parametrize(
    "arguments", [("localhost:1", 0, -1), ("", 2, -1), ("", 0, 1), ("localhost:1", 2, -1)]
)
def test_arguments_of_a_job_are_given_together(arguments):
    with pytest.raises(ValueError, match="coordinator, processes and process must be given togeth"):
        check_job(*arguments)


@pytest.mark.parametrize("address", ["localhost", "host:", ":29500", "host:name", "host:65536"])
def test_a_coordinator_has_a_host_and_a_port(address):
    with pytest.raises(ValueError, match=f"^coordinator={address}: expected HOST:PORT, such as "):
        check_job(address, 2, 1)


def test_the_index_of_a_process_is_below_their_number():
    with pytest.raises(ValueError, match=r"^process=2: the indices of 2 processes are 0 to 1$"):
        check_job("localhost:29500", 2, 2)


def test_the_first_process_can_use_the_port():
    with socket.create_server(("", 0)) as used:
        address = f"localhost:{used.getsockname()[1]}"
        check_job(address, 2, 1)
        with pytest.raises(ValueError, match=f"^coordinator={address}: .*Address already in use"):
            check_job(address, 2, 0)
    check_job(address, 2, 0)
