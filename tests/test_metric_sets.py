"""How the metrics of a data set are shown."""

import pytest

from fcfrnet_jax.evaluation.metrics import NAMES
from fcfrnet_jax.metric_sets import INDOOR, KITTI

VALUES = dict.fromkeys(NAMES, 0.98765) | {"rmse_mm": 92.34, "abs_rel": 0.01234}


@pytest.mark.parametrize("shown", [KITTI, INDOOR])
def test_all_shown_metrics_are_computed_and_none_is_shown_twice(shown):
    names = [measure.name for measure in shown.measures]
    assert set(names) <= set(NAMES)
    assert len(set(names)) == len(names)
    assert names[0] == "rmse_mm"


def test_indoors_errors_are_in_metres():
    found = {measure.heading: measure.text(VALUES[measure.name]) for measure in INDOOR.measures}
    assert found["RMSE (m)"] == "0.0923"
    assert found["REL"] == "0.0123"
    assert found["delta < 1.02"] == "0.9877"
    assert INDOOR.caption(VALUES) == "RMSE 0.0923 m, REL 0.0123"
    assert INDOOR.line(VALUES) == "0.0923 / 0.0123"
    assert INDOOR.best(92.34) == "RMSE 0.0923 m"


def test_on_kitti_errors_are_in_millimetres():
    assert KITTI.measures[0].heading == "RMSE (mm)"
    assert KITTI.caption(VALUES) == "RMSE 92.34 mm, MAE 0.9877 mm"
    assert KITTI.best(801.26) == "RMSE 801.3 mm"
