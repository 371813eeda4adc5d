import numpy as np
import pytest

from seg_models.reference_contrast import compare_contrast
from utils.shared_data import shared


@pytest.fixture(scope='module')
def arrays():
  return dict(np.load(shared('reference', 'contrast.npz')))


def case(arrays, name, new=None):
  """The arrays of one case, under another name."""
  return {f'{new or name}__{key.partition("__")[2]}': value for key, value in arrays.items()
          if key.startswith(f'{name}__')}


def failed(arrays):
  return [entry.name for entry in compare_contrast(arrays)[0] if not entry.ok]


def test_the_reference_file_passes(arrays):
  comparisons, not_compared = compare_contrast(arrays)
  assert all(entry.ok for entry in comparisons), comparisons
  names = {entry.name for entry in comparisons}
  assert len(names) == len(comparisons) == 59
  assert {'nm_odd__grad_feats', 'mem_base__loss_repaired', 'total__memce_on_repaired',
          'q_match__seg_ptr1', 'proj_convmlp__y_eval', 'total__ohem'} <= names
  assert set(not_compared) == {'q_match__pix_q1', 'q_match__pix_ptr1'}


@pytest.mark.parametrize('name', ['nm_odd', 'mem_base'])
def test_cases_are_known_by_what_they_hold(arrays, name):
  other = case(arrays, name, 'another')
  comparisons, not_compared = compare_contrast(other)
  assert all(entry.ok for entry in comparisons) and not not_compared
  assert {f'another__{what}' for what in ('loss', 'grad_feats', 'anchor_pixel')} <= {
      entry.name for entry in comparisons}


@pytest.mark.parametrize('name, what', [
    ('nm_odd', 'loss'), ('nm_odd', 'grad_feats'), ('nm_odd', 'anchor_pixel'), ('nm_odd', 'X'),
    ('nm_nonint', 'labels_ds'), ('mem_base', 'loss_repaired'), ('mem_base', 'per_anchor'),
    ('total', 'auxce_on_weighted'), ('total', 'memce_on'), ('total', 'ohem'),
    ('total', 'baseline_auxce_lowres'), ('q_match', 'seg_q1'), ('q_match', 'seg_ptr1'),
    ('proj_convmlp', 'y_train')])
def test_a_wrong_number_is_found(arrays, name, what):
  wrong = case(arrays, name)
  value = np.array(wrong[f'{name}__{what}'])
  value.flat[np.abs(value).argmax()] *= 1 if value.dtype.kind == 'i' else 1.001
  value.flat[np.abs(value).argmax()] += value.dtype.kind == 'i'
  assert failed({**wrong, f'{name}__{what}': value}) == [f'{name}__{what}']


def test_what_cannot_be_compared_is_named(arrays):
  odd = case(arrays, 'nm_odd')
  odd['nm_odd__loss'] = np.array(np.nan)
  odd['nm_odd__colour'] = odd['version'] = np.zeros(2)
  total = case(arrays, 'total')
  del total['total__seg_aux']
  memory = case(arrays, 'mem_base')
  memory['mem_base__queue'] = memory['mem_base__queue'][:, :20]
  _, not_compared = compare_contrast({**odd, **total, **memory})
  assert 'not finite' in not_compared['nm_odd__loss']
  assert not_compared['nm_odd__colour'] == not_compared['version'] == 'not known'
  assert 'seg_aux is not in the file' in not_compared['total__auxce_on']
  assert 'needs at least one key an anchor' in not_compared['mem_base__per_anchor']


def test_settings_of_the_file_are_used(arrays):
  """The prefactor temperature / base_temperature is the only use of the latter."""
  odd = case(arrays, 'nm_odd')
  odd['nm_odd__base_temperature'] = np.array(1.0)
  for what in ('loss', 'per_anchor', 'grad_feats'):
    odd[f'nm_odd__{what}'] = odd[f'nm_odd__{what}'] * 0.07
  assert not failed(odd)
  total = case(arrays, 'total')
  total['total__aux_weight'] = np.array(0.5)
  assert failed(total) == [f'total__{name}' for name in (
      'auxce_off', 'auxce_on', 'auxce_on_weighted', 'baseline_auxce_lowres')]


def test_predictions_alone_are_enough(arrays):
  odd = case(arrays, 'nm_odd')
  del odd['nm_odd__seg']
  assert not failed(odd)
