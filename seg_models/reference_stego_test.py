import numpy as np
import pytest

from seg_models.reference_stego import compare_stego
from utils.shared_data import shared


@pytest.fixture(scope='module')
def arrays():
  with np.load(shared('reference', 'stego.npz')) as file:
    return {name: file[name] for name in file.files}


def group(arrays, *names):
  return {name: value for name, value in arrays.items()
          if name.startswith(tuple(f'{prefix}/' for prefix in names))}


def failed(arrays):
  return [entry.name for entry in compare_stego(arrays)[0] if not entry.ok]


def test_the_reference_file_passes(arrays):
  comparisons, not_compared = compare_stego(arrays)
  assert all(entry.ok for entry in comparisons), comparisons
  names = {entry.name for entry in comparisons}
  assert len(names) == len(comparisons) == 113
  assert {'corr/default/neg_inter_loss_elem_f64', 'corr/stabilize/grad_code_pos_f64', 'knn/nns',
          'cluster/hard_grad_x_f64', 'head/after5/c2a_w_f64', 'crfloss/out_f64',
          'head/steps_corr_linear_cluster_f64', 'metrics/n6/mapped_ids', 'sample/out_f64',
          'super_perm/8/result', 'eval/cluster_logprobs_alpha2_f64', 'resize/cropped'} <= names
  # The zero pixel of the specification's caution, of each gradient that reaches it.
  assert set(not_compared) == {f'{name}[0,:,0,0]' for name in (
      'corr/default/grad_code_f64', 'corr/default/grad_code_f32', 'corr/no_pointwise/grad_code_f64',
      'corr/stabilize/grad_code_f64', 'cluster/hard_grad_x_f64', 'cluster/hard_grad_x_f32')}


def test_other_cases_are_known_by_their_form(arrays):
  """Of another name, of another size of permutations, and with another setting."""
  other = group(arrays, 'corr', 'super_perm')
  for name in [name for name in other if name.startswith('corr/stabilize/')]:
    other[name.replace('stabilize', 'another')] = other.pop(name)
  other['super_perm/4/raw'] = np.array([[0, 1, 2, 3]])
  other['super_perm/4/result'] = np.array([[1, 2, 3, 0]])
  comparisons, _ = compare_stego(other)
  assert all(entry.ok for entry in comparisons)
  assert {'corr/another/total_f64', 'super_perm/4/result'} <= {entry.name for entry in comparisons}
  other['corr/another/cfg/neg_inter_weight'] = np.array(0.0)
  assert set(failed(other)) == {f'corr/another/{name}' for name in (
      'total_f64', 'total_f32', 'grad_code_f64', 'grad_code_pos_f64')} - {
          'corr/another/grad_code_pos_f64'}  # partners are in no random pair


@pytest.mark.parametrize('settings, total', [
    ({'zero_clamp': False}, -0.2137332239), ({'stabalize': True}, -0.0403935649),
    ({'zero_clamp': False, 'pointwise': False}, -0.2348384846),
    ({'neg_inter_shift': .66, 'pos_inter_shift': .02, 'pos_intra_shift': .08}, -0.0421074566),
    ({'neg_inter_shift': 1., 'pos_inter_shift': .2, 'pos_intra_shift': .12, 'pos_intra_weight': .1,
      'neg_inter_weight': .1538476246415498, 'pos_inter_weight': 1.}, -0.0131788299)])
def test_cases_that_the_file_lacks(arrays, settings, total):
  """Totals of the original with other settings, as the specification gives them."""
  part = {name: value for name, value in group(arrays, 'corr').items()
          if name.count('/') == 1 and 'inter_fd' not in name or 'default/cfg' in name}
  part.update({f'corr/default/cfg/{name}': np.array(value) for name, value in settings.items()})
  part['corr/default/total_f64'] = np.array(total)
  assert not failed(part)
  part['corr/default/total_f64'] *= 1.0001
  assert failed(part) == ['corr/default/total_f64']


def test_soft_clusters_of_another_sharpness(arrays):
  part = {**group(arrays, 'cluster'), 'cluster/soft3_loss_f64': np.array(-0.2403687814)}
  assert not failed(part)


@pytest.mark.parametrize('name', [
    'sample/out_f64', 'corr/perms', 'corr/default/pos_intra_loss_f64', 'corr/inter_fd_raw_f64',
    'corr/default/neg_inter_loss_elem_f64', 'corr/default/pos_inter_cd_f32',
    'corr/inter_fd_centered_f64', 'corr/default/total_f32', 'corr/stabilize/grad_code_pos_f64',
    'super_perm/5/result', 'cluster/hard_loss_f64', 'cluster/hard_onehot_f64',
    'cluster/soft2_probs_f64', 'cluster/soft2_grad_clusters_f64', 'cluster/log_probs_alpha2_f64',
    'crfloss/out_f64', 'eval/code_up_f64', 'eval/linear_logprobs_f64', 'metrics/n6/mIoU',
    'metrics/n6/assign_cols', 'metrics/n6/linear_Accuracy', 'knn/nns', 'resize/resized',
    'eval/cluster_logprobs_alpha2_f64'])
def test_a_wrong_number_is_found(arrays, name):
  value = np.array(arrays[name])
  largest = np.abs(value).argmax()
  old = value.flat[largest]
  value.flat[largest] = old * 1.001 if value.dtype.kind == 'f' else old ^ 1
  part = group(arrays, *{name.partition('/')[0], 'head' if 'eval' in name else 'corr'})
  if name.startswith(('corr', 'eval')):
    keep = name.rsplit('/', 1)[0]
    part = {key: kept for key, kept in part.items()
            if 'cfg' in key and key.startswith(keep) or key.count('/') == 1
            and 'inter_fd' not in key}
  assert failed({**part, name: value}) == [name]


@pytest.mark.parametrize('name', ['head/after5/c2b_b_f64', 'head/steps_corr_linear_cluster_f64'])
def test_wrong_training_is_found(arrays, name):
  value = np.array(arrays[name])
  value.flat[np.abs(value).argmax()] *= 1.001
  part = {key: kept for key, kept in group(arrays, 'head', 'corr').items()
          if 'after' not in key and 'inter_fd' not in key and (
              not key.startswith('corr/') or key.count('/') == 1 or 'default/cfg' in key)}
  assert failed({**part, name: value}) == [name]


def test_gradients_are_compared_beside_the_zero_code_only(arrays):
  part = group(arrays, 'cluster')
  for row, expected in ((0, []), (1, ['cluster/hard_grad_x_f64'])):
    value = np.array(part['cluster/hard_grad_x_f64'])
    value[row, :, 0, 0] = 1e9
    assert failed({**part, 'cluster/hard_grad_x_f64': value}) == expected


def test_what_cannot_be_compared_is_named(arrays):
  part = group(arrays, 'cluster', 'eval')
  part['cluster/hard_loss_f64'] = np.array(np.nan)
  part['cluster/colour'] = part['version'] = np.zeros(2)
  part['cluster/hard_probs_f64'] = np.zeros(3)
  part['corr/default/total_f64'] = np.zeros([])
  del part['eval/code']
  comparisons, not_compared = compare_stego(part)
  assert all(entry.ok for entry in comparisons)
  assert not_compared['cluster/hard_loss_f64'] == "the original's value is not finite"
  for name in ('cluster/colour', 'version', 'cluster/hard_probs_f64'):
    assert not_compared[name] == 'not known'
  assert not_compared['corr/default/total_f64'] == 'corr/feats is not in the file'
  assert not_compared['eval/code_up_f64'] == 'eval/code is not in the file'
