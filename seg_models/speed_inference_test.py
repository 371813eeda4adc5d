import numpy as np
import pytest

from seg_models import speed_inference


@pytest.mark.parametrize('build', [speed_inference.inference_head, speed_inference.msc_votes])
def test_both_ways_give_the_same_labels(build):
  work = build(0.1)
  fast, plainly = np.asarray(work.fast()), np.asarray(work.plain())
  assert len(np.unique(fast)) > 1
  assert np.mean(fast.reshape(plainly.shape) == plainly) > 0.999
  work.bare()
