import pytest

from seg_models import speed_training
from utils.benchmarking import Times


@pytest.mark.slow
def test_a_small_step_is_measured():
  work = speed_training.train_step(0.1)
  assert work.fast() == pytest.approx(work.plain(), rel=1e-3)
  notes = work.notes({name: Times(1.0, 1.0) for name in ('fast', 'plain', 'bare')})
  assert 0 < notes['own_share'] < 1 and notes['pipeline_images_per_second'] > 0


def test_the_pipeline_by_itself_gives_images():
  assert speed_training.images_per_second(0.1, count=3, height=60, width=80) > 0
