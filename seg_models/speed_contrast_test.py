import pytest

from seg_models import speed_contrast
from utils.benchmarking import Times


@pytest.mark.slow
def test_a_small_step_is_measured_with_anchors():
  work = speed_contrast.contrast_step(0.3)
  contrasted, plain = work.fast(), work.plain()
  assert contrasted['contrast_loss'] > 0 and 'contrast_loss' not in plain
  times = {name: Times(2.0, 1.0) for name in ('fast', 'plain')}
  notes = work.notes(times)
  assert notes['times_without'] == notes['cpu_times_without'] == 1.0
  assert 0 < notes['anchors'] <= 1024
