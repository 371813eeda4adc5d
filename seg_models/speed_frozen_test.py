import numpy as np
import pytest

from seg_models.speed_frozen import frozen_step
from utils.benchmarking import Times


@pytest.mark.slow
@pytest.mark.parametrize('name', ['stego', 'smooseg'])
def test_a_small_step_is_measured_on_features_and_from_images(name):
  work = frozen_step(name, 16)(0.15)
  for way in (work.fast, work.plain):
    assert np.isfinite(way()['loss'])
  notes = work.notes({'fast': Times(0.5, 0.5), 'plain': Times(2.0, 2.0)})
  assert notes == {'images_per_second': 4.0, 'with_the_trunk': 1.0}
