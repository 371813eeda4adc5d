import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from network.common.channel_dropout import channel_masks
from network.smooseg import losses
from network.stego.pairing import faithful_pairing
from seg_models.datasets import dataset_for
from seg_models.methods.smooseg import Smooseg, SmoosegConfig
from utils.train_step import TrainStep
from utils.training import TrainingConfig, make_strategy

CHANNELS, CLASSES, B = 10, 4, 4


def batch_of(count=B, seed=0, labelled=True):
  random = np.random.default_rng(seed)
  features = random.normal(size=[count, 4, 5, CHANNELS]) + 0.7
  label = random.integers(0, CLASSES, [count, 16, 20]) if labelled else np.full([count, 16, 20], -1)
  label[:, :3] = -1
  return {'features': tf.constant(features, tf.float32), 'label': tf.constant(label, tf.int32),
          'index': tf.range(count, dtype=tf.int64)}


def method_of(seed=5, **options):
  config = SmoosegConfig(**{'dim': 6, **options})
  model = Smooseg.build_head(CHANNELS, config, seed)
  return Smooseg(model, dataset_for(None, CLASSES), config, B, seed)


def step_of(replicas=1, jit_compile=False, iter_size=1, **options):
  training = TrainingConfig(
      optimizer='adam', learning_rate=1e-2, power=0.0, weight_decay=0.0, batch_size=B, num_steps=10,
      jit_compile=jit_compile, iter_size=iter_size)
  strategy = make_strategy(replicas)
  with strategy.scope():
    method = method_of(**options)
  return TrainStep(method, method.variables(), training, strategy, method.rate_multipliers())


def means(metrics):
  return {name: float(total) / float(weight) for name, (total, weight) in metrics.items()
          if float(weight)}


def gradients_of(method, labelled=True, step=3):
  variables = method.variables()
  with tf.GradientTape() as tape:
    loss = method.loss(batch_of(labelled=labelled), method.initial_state(), step, step).loss
  found = tape.gradient(loss, list(variables.values()),
                        unconnected_gradients=tf.UnconnectedGradients.ZERO)
  return {name: np.abs(value).max() for name, value in zip(variables, found, strict=True)}


def moving(gradients):
  return {name.partition('/')[0] for name, value in gradients.items() if value > 0}


def test_the_loss_is_that_of_all_pairs():
  method = method_of(dropout=0.0, within_weight=0.5, across_weight=2.0, data_weight=3.0)
  batch, state = batch_of(), method.initial_state()
  output = method.loss(batch, state, 3, 3)
  code = method.codes(batch['features']).numpy().astype(np.float64)
  unit = code / np.linalg.norm(code, axis=-1, keepdims=True)
  cosines = unit @ state['teacher'].T
  shares = np.exp(10 * cosines)
  labels = shares / np.linalg.norm(shares, axis=-1, keepdims=True)
  pairs = {}
  for name, partner, threshold in (('within', np.arange(B), -0.02),
                                   ('across', method._partners(tf.constant(3), B).numpy(), 0.48)):
    first, second = (tf.constant(x, tf.float32) for x in (
        batch['features'], batch['features'].numpy()[partner]))
    weights = losses.closeness(first, second).numpy() - threshold
    distance = 1 - np.einsum('bijk,bmnk->bijmn', labels, labels[partner]).reshape(B, 20, 20)
    pairs[name] = (weights * distance).mean(), distance.mean(), weights.mean() + threshold
  logits = cosines.reshape(-1, CLASSES)  # the student begins as the teacher
  data = (np.log(np.exp(logits).sum(-1)) - logits.max(-1)).mean()
  found = means(output.metrics)
  for name, (loss, distance, closeness) in pairs.items():
    assert found[f'{name}_loss'] == pytest.approx(loss, rel=1e-4, abs=1e-6)
    assert found[f'{name}_distance'] == pytest.approx(distance, rel=1e-4)
    assert found[f'{name}_closeness'] == pytest.approx(closeness, rel=1e-4)
  assert found['data_loss'] == pytest.approx(data, rel=1e-5)
  total = 0.5 * pairs['within'][0] + 2 * pairs['across'][0] + 3 * data + found['linear_loss']
  assert float(output.loss) == pytest.approx(total, rel=1e-5)


def test_who_learns_from_what():
  """Smoothness trains the projector alone, the data term the student, the probe itself."""
  assert moving(gradients_of(method_of())) == {'head', 'student', 'linear_probe'}
  assert moving(gradients_of(method_of(), labelled=False)) == {'head', 'student'}
  without = {'within_weight': 0.0, 'across_weight': 0.0}
  assert moving(gradients_of(method_of(**without), labelled=False)) == {'student'}
  assert moving(gradients_of(method_of(data_weight=0.0), labelled=False)) == {'head'}
  assert moving(gradients_of(method_of(projection='none', dim=None), labelled=False)) == {'student'}


@pytest.mark.parametrize('iter_size', [1, 2])
def test_the_teacher_is_a_state_that_moves_before_the_student(iter_size):
  """It is no variable of the optimizer, begins as the student, and moves once a step."""
  step = step_of(teacher_momentum=0.75, iter_size=iter_size)
  assert not any('teacher' in name for name in step.optimizer.slots())
  before = step.variables['student/prototypes'].numpy()
  np.testing.assert_array_equal(step.state['teacher'], before)
  step([batch_of()] * iter_size, 0)
  np.testing.assert_allclose(step.state['teacher'], before, rtol=1e-6)
  moved = step.variables['student/prototypes'].numpy()
  assert np.abs(moved - before).max() > 0.04  # a rate of 5 * 1e-2
  step([batch_of(seed=1)] * iter_size, 1)
  np.testing.assert_allclose(step.state['teacher'], 0.75 * before + 0.25 * moved, rtol=1e-6)
  assert 'state/teacher' in step.saved_variables()


def test_the_teacher_may_move_before_the_loss():
  batch, state = batch_of(), {**method_of().initial_state()}
  losses_of = {}
  for first in (False, True):
    method = method_of(teacher_first=first, teacher_momentum=0.5)
    method.student.assign(-2.0 * method.student.numpy()[::-1])
    output = method.loss(batch, state, 3, 3)
    losses_of[first] = float(output.loss)
  moved = output.state['teacher']
  np.testing.assert_allclose(moved, 0.5 * state['teacher'] - state['teacher'][::-1], rtol=1e-5)
  method = method_of(teacher_momentum=0.5)
  method.student.assign(-2.0 * method.student.numpy()[::-1])
  again = float(method.loss(batch, {**state, 'teacher': moved}, 3, 3).loss)
  assert losses_of[True] == again != losses_of[False]


@pytest.mark.slow
@pytest.mark.parametrize('options', [{'jit_compile': True}, {'replicas': 2}])
def test_compiled_and_on_replicas_the_step_is_the_same(options):
  alone, other = step_of(), step_of(**options)
  for step in range(3):
    expected, actual = (each([batch_of(seed=step)], step) for each in (alone, other))
    for name in expected:
      np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
  for name, variable in alone.saved_variables().items():
    np.testing.assert_allclose(
        other.saved_variables()[name], variable, rtol=1e-3, atol=2e-4, err_msg=name)


def test_randomness_is_of_seed_and_step_alone():
  def loss(method, step):
    return float(method.loss(batch_of(), method.initial_state(), step, step).loss)

  tf.random.set_seed(1)
  first = loss(method_of(), 3)
  tf.random.set_seed(2)
  assert loss(method_of(), 3) == first != loss(method_of(), 4)
  assert first != loss(method_of(seed=6), 3)


def test_batches_of_one_step_differ_by_their_number():
  method, losses_of = method_of(), {}
  for pair in ((7, 7), (3, 7), (7, 8)):
    output = method.loss(batch_of(), method.initial_state(), *pair)
    losses_of[pair] = float(output.loss)
  assert losses_of[7, 7] == losses_of[3, 7] != losses_of[7, 8]


def test_closeness_is_of_features_that_lack_channels_unless_asked_otherwise():
  found = {}
  for drop in (True, False):
    method = method_of(dropout=0.5, drop_closeness=drop)
    output = method.loss(batch_of(), method.initial_state(), 3, 3)
    found[drop] = means(output.metrics)
  features = batch_of()['features']
  mask = channel_masks([5, 6], B, CHANNELS, 0.5, 3)[2]
  for drop, used in ((True, features * mask), (False, features)):
    expected = losses.closeness(used, used, pointwise=False).numpy().mean()
    assert found[drop]['within_closeness'] == pytest.approx(expected, rel=1e-5)
  assert found[True]['within_distance'] == found[False]['within_distance']


@pytest.mark.parametrize('faithful', [False, True])
def test_partners_are_a_permutation_unless_faithful(faithful):
  method = method_of(faithful_pairing=faithful)
  partners = np.stack([method._partners(tf.constant(step), 6) for step in range(40)])
  assert (partners != np.arange(6)).all()
  repeated = [len(set(row)) < 6 for row in partners.tolist()]
  assert any(repeated) == faithful
  if not faithful:
    with pytest.raises(ValueError, match='--batch_size'):
      method.loss(batch_of(1), method.initial_state(), 0, 0)
  else:
    assert faithful_pairing(tf.constant([0])).numpy().tolist() == [0]


def test_the_state_decides_in_inference_and_over_all_clusters():
  method = method_of(num_clusters=7, test_scale=3.0)
  code = method.codes(batch_of()['features'])
  teacher = np.random.default_rng(0).normal(size=[7, 6]).astype(np.float32)
  unit = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (code.numpy(), teacher)]
  shares = np.exp(3 * unit[0] @ unit[1].T)
  logs = method.cluster_log_probs(code, {'teacher': teacher})
  assert logs.shape == (B, 4, 5, 7)
  np.testing.assert_allclose(
      logs, np.log(shares / shares.sum(-1, keepdims=True)), rtol=1e-4, atol=1e-5)
  assert method.linear_log_probs(code).shape == (B, 4, 5, CLASSES)


def test_without_labels_the_loss_is_finite_and_the_probe_at_rest():
  method = method_of()
  output = method.loss(batch_of(labelled=False), method.initial_state(), 3, 3)
  assert np.isfinite(output.loss) and 'linear_loss' not in means(output.metrics)


def test_histograms_are_of_pairs_within_and_across():
  method = method_of()
  batch, state = batch_of(), method.initial_state()
  batch['features'] = tf.repeat(batch['features'], 7, axis=1)  # 28 rows: every second one
  found = method.histograms(batch, state, tf.constant(3))
  assert {name: values.shape for name, values in found.items()} == {
      f'{what}/{place}': (B, 70, 70) for what in ('closeness', 'distance', 'similarity')
      for place in ('within', 'across')}
  np.testing.assert_allclose(np.diagonal(found['similarity/within'], 0, 1, 2), 1, rtol=1e-5)
  np.testing.assert_allclose(np.diagonal(found['distance/within'], 0, 1, 2), 0, atol=1e-5)
  assert found['similarity/across'].min() < 0.9 and found['distance/across'].max() > 0.1


def test_a_collapse_that_lasts_is_seen():
  method = method_of()
  state = {**method.initial_state(), 'collapsed_steps': np.int32(199)}
  healthy = method.loss(batch_of(), state, 3, 3)
  assert means(healthy.metrics)['used_clusters'] > 1.5
  assert int(healthy.state['collapsed_steps']) == 0
  assert Smooseg.warning(means(healthy.metrics)) is None
  method.projector.linear.bias.assign(np.full(6, 1e4))
  collapsed = method.loss(batch_of(), state, 3, 3)
  metrics = means(collapsed.metrics)
  assert int(collapsed.state['collapsed_steps']) == 200 == metrics['collapsed_steps']
  assert metrics['used_clusters'] == pytest.approx(1) == metrics['effective_rank']
  assert 'in one cluster: raise --across_threshold' in Smooseg.warning(metrics)
  assert 'codes have collapsed' in Smooseg.warning({**metrics, 'used_clusters': 3.0})
  assert Smooseg.warning({**metrics, 'collapsed_steps': 199.0}) is None


def test_rates_and_names():
  method = method_of()
  rates = method.rate_multipliers()
  assert rates.keys() == method.variables().keys()
  assert {name.partition('/')[0]: rate for name, rate in rates.items()} == {
      'head': 1, 'student': 5, 'linear_probe': 50}
  assert {'head/linear/kernel', 'head/hidden/bias', 'head/last/kernel'} <= rates.keys()
  assert Smooseg.DEFAULTS['learning_rate'] == 1e-4


def test_presets_are_complete_and_as_published():
  fields = {field.name for field in dataclasses.fields(SmoosegConfig)}
  for preset in Smooseg.PRESETS.values():
    SmoosegConfig(**{name: value for name, value in preset.items() if name in fields})
    assert {'dataset', 'backbone', 'crops', 'seed'} <= preset.keys()
  published = {name: (preset['backbone'], preset['within_threshold'], preset['across_threshold'])
               for name, preset in Smooseg.PRESETS.items()}
  assert published == {
      'cityscapes27': ('dino_vits8', -0.02, 0.50), 'coco_stuff27': ('dino_vits8', -0.02, 0.48),
      'potsdam3': ('dino_vitb8', 0.10, 0.50), 'potsdam3_dinov2': ('dinov2_vitb14', 0.32, 0.50)}


# Not the loss's own: the probabilities' scale, and what moves the state alone.
ELSEWHERE = {'test_scale', 'teacher_momentum', 'teacher_each_batch'}
OPTIONS = {
    'dim': 5, 'projection': 'linear', 'num_clusters': 7, 'within_threshold': 0.3,
    'across_threshold': 0.1, 'within_weight': 0.5, 'across_weight': 0.5, 'data_weight': 0.5,
    'temperature': 0.3, 'teacher_first': True, 'dropout': 0.0, 'drop_closeness': False,
    'pointwise': False, 'faithful_pairing': True}


@pytest.mark.parametrize('name', [
    field.name for field in dataclasses.fields(SmoosegConfig) if field.name not in ELSEWHERE])
def test_every_option_does_something(name):
  """Which is not so of the original's: sigma, for one, is never looked at."""
  found = []
  for options in ({}, {name: OPTIONS[name]}):
    method = method_of(teacher_momentum=0.5, **options)
    method.student.assign(method.student.numpy()[::-1])
    found.append(float(method.loss(
        batch_of(), method.initial_state(), 5, 5).loss))
  assert abs(found[0] - found[1]) > 1e-5


def test_the_teacher_may_move_with_every_batch_of_a_step():
  """As the original's does: of two batches a step it is moved twice to the same student."""
  step = step_of(iter_size=2, teacher_momentum=0.75, teacher_each_batch=True)
  step([batch_of(), batch_of(seed=1)], 0)
  before, moved = step.state['teacher'].numpy(), step.variables['student/prototypes'].numpy()
  assert np.abs(moved - before).max() > 0.04
  step([batch_of(seed=2), batch_of(seed=3)], 1)
  np.testing.assert_allclose(
      step.state['teacher'], 0.5625 * before + 0.4375 * moved, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('name, value', [
    ('dim', 0), ('num_clusters', -1), ('temperature', 0.0), ('test_scale', -1.0),
    ('within_weight', -1.0), ('across_weight', -0.5), ('data_weight', -2.0),
    ('teacher_momentum', 1.0), ('dropout', 1.0), ('projection', 'mlp')])
def test_a_wrong_option_is_named(name, value):
  with pytest.raises(ValueError, match=f'--{name} {value}'):
    SmoosegConfig(**{name: value})
