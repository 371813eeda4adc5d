import numpy as np
import pytest

from seg_models.reference_stego_parts import CorrespondenceInputs, NotComparable
from seg_models.reference_stego_training import HeadCase, evaluation
from utils.shared_data import shared


@pytest.fixture(scope='module')
def find():
  with np.load(shared('reference', 'stego.npz')) as file:
    arrays = {name: file[name] for name in file.files if name.startswith(('head', 'corr', 'eval'))}

  def get(name):
    if name not in arrays:
      raise NotComparable(f'{name} is not in the file')
    return arrays[name]
  return get


def test_training_begins_with_the_given_weights_and_goes_on_where_it_was(find):
  case = HeadCase(find, CorrespondenceInputs(find, 'corr/default/cfg/'))
  np.testing.assert_array_equal(case.after(0, 'c1_w'), find('head/c1_w'))
  np.testing.assert_array_equal(case.after(0, 'clusters'), find('head/clusters'))
  first = case.after(2, 'c2b_b')
  # Adam's steps are the rate: two of 5e-4 and, of the probes, 5e-3.
  assert 5e-4 < abs(first - find('head/c2b_b')).max() < 1.01e-3
  assert 5e-3 < abs(case.after(2, 'lin_b') - find('head/lin_b')).max() < 1.01e-2
  assert case.after(5, 'c2b_b').shape == (10,) and (case.after(2, 'c2b_b') == first).all()
  assert case.quantity('steps_corr_linear_cluster').shape == (5, 3)
  with pytest.raises(NotComparable):
    case.after(5, 'colour')


def test_log_probabilities_sum_to_one(find):
  for what, alpha in (('linear_logprobs', None), ('cluster_logprobs_alpha0.5', '0.5')):
    found = evaluation(find, (8, 10), what, alpha)
    assert found.shape == (2, 5, 8, 10)
    np.testing.assert_allclose(np.exp(found).sum(1), np.ones([2, 8, 10]), rtol=1e-5)
