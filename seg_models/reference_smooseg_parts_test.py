import numpy as np
import pytest

from seg_models import reference_smooseg_parts as module
from utils.shared_data import shared


@pytest.fixture(scope='module')
def case():
  stored = np.load(shared('reference', 'smooseg.npz'))
  return lambda name: {key.partition('/')[2]: stored[key] for key in stored.files
                       if key.startswith(f'{name}/')}


def failed(result):
  return [entry.name for entry in result[0] if not entry.ok]


def test_pairing(case):
  values = case('super_perm')
  assert not failed(module.compare_pairing(values))
  values['used5'][3, 1] += 1
  assert failed(module.compare_pairing(values)) == ['used5']
  comparisons, left = module.compare_pairing({'used2': values['used2'], 'x': np.zeros(1)})
  assert not comparisons and left == {'used2': 'its draws are not in the file', 'x': 'not known'}


def test_inference_takes_its_size_from_what_is_there(case):
  values = case('infer')
  assert not failed(module.compare_inference(values))
  few = {name: values[name] for name in ('code1', 'code2_of_flipped', 'proto', 'logp', 'pred')}
  comparisons, left = module.compare_inference(few)
  assert [entry.name for entry in comparisons] == ['logp', 'pred'] and not left
  del few['logp']
  assert module.compare_inference(few)[1] == {'pred': 'the size is not in the file'}
  values['crf_unary'][0, 2, 40] += 0.01
  values['pred'][1, 2, 3] += 1
  assert failed(module.compare_inference(values)) == ['pred', 'crf_unary']


def test_scores_with_and_without_labels_of_their_own(case):
  values = case('metric')
  assert not failed(module.compare_scores(values))
  unused = case('metric_unused')
  assert np.isnan(unused['iou']).any()
  assert not failed(module.compare_scores(unused, values['label']))
  assert module.compare_scores(unused)[1].keys() == unused.keys()
  unused['iou'] = np.nan_to_num(unused['iou'])
  assert failed(module.compare_scores(unused, values['label'])) == ['iou']
  values['acc'] = values['acc'] * 1.001
  assert failed(module.compare_scores(values)) == ['acc']


def test_clusters_beyond_the_classes_are_dropped_like_the_originals(case):
  values = case('metric')
  beyond = np.concatenate([values['pred'], [6, -1, 7]])
  label = np.concatenate([values['label'], [0, 1, 2]])
  assert not failed(module.compare_scores({**values, 'pred': beyond, 'label': label}))


def test_training_steps_of_a_file_with_fewer_of_them(case):
  values = case('train')
  few = {name: value[:2] if name in ('feats', 'masks', 'perms', 'losses') else value
         for name, value in values.items() if name[:5] not in ('step2', 'step3', 'step4')}
  comparisons, left = module.compare_training(few)
  assert not left and all(entry.ok for entry in comparisons) and len(comparisons) == 11
  few['step1/glob'] = few['step1/glob'] * 1.0001
  few['b1b2'] = np.array([-0.02, 0.4])
  names = failed(module.compare_training(few))
  assert {'losses', 'step1/glob', 'step0/c1w'} <= set(names) and 'step0/local' not in names
