import numpy as np
import pytest

from seg_models.reference_smooseg import compare_smooseg
from utils.shared_data import shared


@pytest.fixture(scope='module')
def arrays():
  return dict(np.load(shared('reference', 'smooseg.npz')))


@pytest.fixture(scope='module')
def small(arrays):
  return {name: value for name, value in arrays.items() if name.startswith('small/')}


def failed(arrays):
  return [entry.name for entry in compare_smooseg(arrays)[0] if not entry.ok]


def test_the_reference_file_passes(arrays):
  comparisons, not_compared = compare_smooseg(arrays)
  assert all(entry.ok for entry in comparisons), [e for e in comparisons if not e.ok]
  names = {entry.name for entry in comparisons}
  assert len(names) == len(comparisons)
  assert {'small/f32/g_c2aw', 'small/f64/loss_total', 'small/f64/W_inter', 'small/f32/perm',
          'small/f64/nopointwise_intra', 'train/losses', 'train/step4/c2aw', 'train/step4/glob',
          'super_perm/used5', 'infer/crf_unary', 'infer/pred', 'metric/assign_class_of_cluster',
          'metric_unused/iou', 'pos28/out320'} <= names
  assert set(not_compared) == {'small/f64/centring_identity_maxerr'}


@pytest.mark.parametrize('quantity', [
    'f32/loss_total', 'f64/nopointwise_inter', 'f32/g_c1w', 'f64/g_code', 'f32/g_local',
    'f32/eval_teacher', 'f64/W_inter', 'f32/d_intra', 'f32/target', 'f64/cd_inter'])
def test_a_wrong_number_is_found(small, quantity):
  value = np.array(small[f'small/{quantity}'])
  place = np.unravel_index(np.abs(value).argmax(), value.shape)
  value[place] = value[place] - 1 if value.dtype.kind == 'i' else value[place] * 1.001
  assert failed({**small, f'small/{quantity}': value}) == [f'small/{quantity}']


def test_large_arrays_are_known_by_numbers_about_them(small):
  other = {name.replace('small', 'coco'): value for name, value in small.items()
           if 'perm_draw' not in name}
  for name in ('W_intra', 'rawW_inter', 'd_inter', 'P'):
    x = other.pop(f'coco/f64/{name}')
    other[f'coco/f64/{name}_stats'] = np.array(
        [x.mean(), x.std(ddof=1), x.min(), x.max(), (x ** 2).mean()])
    if name != 'P':
      other[f'coco/f64/{name}_b0'] = x[0, 0, 0]
  gradient = other.pop('coco/f64/g_c2aw')
  other['coco/f64/g_c2aw_norm'] = np.linalg.norm(gradient)
  other['coco/f64/g_c2aw_row0'] = gradient[0]
  comparisons, not_compared = compare_smooseg(other)
  assert all(entry.ok for entry in comparisons)
  names = {entry.name for entry in comparisons}
  assert {'coco/f64/W_intra_stats', 'coco/f64/rawW_inter_b0', 'coco/f64/P_stats',
          'coco/f64/g_c2aw_norm', 'coco/f64/g_c2aw_row0'} <= names
  assert 'coco/f32/perm' not in names
  assert set(not_compared) == {'coco/f64/centring_identity_maxerr'}
  other['coco/f64/W_intra_stats'][3] *= 1.001
  other['coco/f64/g_c2aw_row0'][2] += 0.01
  assert failed(other) == ['coco/f64/W_intra_stats', 'coco/f64/g_c2aw_row0']


def test_what_cannot_be_compared_is_named(arrays, small):
  lacking = {name: value for name, value in small.items() if name != 'small/f32/local'}
  _, not_compared = compare_smooseg({**lacking, 'version': np.zeros(2)})
  assert not_compared['small/f64/loss_total'] == 'local is not in the file'
  assert not_compared['version'] == 'not known'
  cases = {'metric/pred': arrays['metric/pred'], 'infer/code1': arrays['infer/code1'],
           'super_perm/used3': arrays['super_perm/used3']}
  comparisons, not_compared = compare_smooseg(cases)
  assert not comparisons and set(not_compared) == set(cases)
