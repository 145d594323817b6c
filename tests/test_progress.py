"""Progress bars."""

from fcfrnet_jax.progress import frames_progress


def test_frames_that_existed_do_not_count_for_the_rate(capsys):
    with frames_progress(9, 2) as advance:
        advance.keep(7)
        advance(0)
    assert "9/9 0.00 frames/s" in capsys.readouterr().err
