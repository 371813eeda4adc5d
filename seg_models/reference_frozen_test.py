import numpy as np
import pytest

from seg_models.reference_frozen import compare_frozen
from utils.shared_data import shared


@pytest.fixture(scope='module')
def arrays():
  with np.load(shared('reference', 'stego.npz')) as file:
    return {name: file[name] for name in file.files if name.split('/')[0] in ('resize', 'knn')}


def test_the_originals_preprocessing_and_neighbours(arrays):
  comparisons, inputs = compare_frozen(arrays)
  assert {entry.name for entry in comparisons} | inputs == set(arrays)
  assert all(entry.ok for entry in comparisons), comparisons


@pytest.mark.parametrize('name', ['resize/resized', 'resize/cropped', 'knn/normed_f64', 'knn/nns'])
def test_a_deviation_is_seen(arrays, name):
  changed = arrays[name].copy()
  changed.flat[-1] += 1
  comparisons, _ = compare_frozen({**arrays, name: changed})
  assert [entry.name for entry in comparisons if not entry.ok] == [name]
