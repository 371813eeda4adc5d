"""The method on given outputs of a network."""

import numpy as np
import pytest
import tensorflow as tf

from network.contrast.losses import contrast_loss
from network.contrast.sampling import sample_anchors
from network.segsort.losses import mean_over_valid
from seg_models.datasets import dataset_for
from seg_models.methods import contrast as module
from seg_models.methods.contrast import Contrast, ContrastConfig
from seg_models.methods.softmax import Softmax, SoftmaxConfig

CLASSES = 3
SMALL = {'max_samples': 40, 'max_views': 4, 'projection_dim': 6, 'warmup_steps': 0,
         'memory_size': 20, 'pixel_update_freq': 3}


def batch_of(count, seed=0, size=48):
  random = np.random.default_rng(seed)
  label = random.integers(0, CLASSES, [count, size // 8, size // 8]).repeat(8, 1).repeat(8, 2)
  label[:, :6] = 255
  return {
      'image': tf.constant(random.normal(size=[count, size, size, 3]) * 50, tf.float32),
      'label': tf.constant(label, tf.int32)}


class Fixed:
  """A network whose outputs are given."""

  def __init__(self, **outputs):
    self.outputs = {name: tf.constant(value, tf.float32) for name, value in outputs.items()}

  def __call__(self, images, training):
    return self.outputs


def fixed(seed=0, count=2, **options):
  """A method on given outputs, and a batch."""
  random = np.random.default_rng(seed)
  embedding = random.normal(size=[count, 6, 6, 6])
  model = Fixed(
      logits=random.normal(size=[count, 6, 6, CLASSES]),
      projection=embedding / np.linalg.norm(embedding, axis=-1, keepdims=True))
  config = ContrastConfig(**{**SMALL, **options})
  return Contrast(model, dataset_for(None, CLASSES), config, count, seed=5), batch_of(count, seed)


def test_weight_0_is_the_softmax_method():
  method, batch = fixed(contrast_weight=0.0, full_resolution=False, memory='both')
  softmax = Softmax(lambda *_, **__: method.model.outputs['logits'], method.dataset,
                    SoftmaxConfig(), 2, seed=5)
  actual, expected = (
      m.loss(batch, m.initial_state(), 9, 9) for m in (method, softmax))
  assert float(actual.loss) == float(expected.loss) > 0
  assert actual.metrics.keys() == expected.metrics.keys() and actual.state == {}
  assert Contrast.network(method.config) == ({}, ('logits',))


def test_full_resolution_is_what_inference_computes():
  method, batch = fixed(contrast_weight=0.0)
  loss = float(method.loss(batch, {}, 0, 0).loss)
  logits = method.model.outputs['logits'].numpy().astype(np.float64)
  position = np.minimum(np.arange(48) / 8, 5)
  weights = np.maximum(1 - np.abs(position[:, None] - np.arange(6)), 0)
  logits = np.einsum('ph,qw,bhwc->bpqc', weights, weights, logits)
  labels = batch['label'].numpy()
  counted = labels != 255
  shares = np.exp(logits[counted])
  shares /= shares.sum(-1, keepdims=True)
  expected = -np.log(shares[np.arange(counted.sum()), labels[counted]]).mean()
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_class_weights_are_of_their_classes():
  losses = {}
  for weights in (None, (1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 3.0), (1.0, 1.0, 1.0)):
    method, batch = fixed(contrast_weight=0.0, class_weights=weights)
    losses[weights] = float(method.loss(batch, {}, 0, 0).loss)
  np.testing.assert_allclose(losses[1.0, 1.0, 1.0], losses[None], rtol=1e-6)
  assert len(set(losses.values())) >= 4
  with pytest.raises(ValueError, match='--class_weights: 2 numbers for 3 classes'):
    fixed(class_weights=(1.0, 2.0))


def test_the_contrast_is_added_with_its_weight():
  method, batch = fixed(contrast_weight=0.25)
  output = method.loss(batch, {}, 3, 3)
  plain, _ = fixed(contrast_weight=0.0)
  expected = float(plain.loss(batch, {}, 3, 3).loss)
  labels = batch['label'][:, ::8, ::8]
  outputs = method.model.outputs
  anchors = sample_anchors(
      outputs['projection'], tf.where(labels == 255, -1, labels),
      tf.argmax(outputs['logits'], -1, tf.int32), num_classes=CLASSES, max_samples=40, max_views=4,
      seed=[5, 6])
  result = contrast_loss(*anchors[:3], temperature=0.1, base_temperature=0.07)
  contrast = float(mean_over_valid(result.per_anchor, result.valid))
  assert contrast > 1
  np.testing.assert_allclose(float(output.loss), expected + 0.25 * contrast, rtol=1e-6)
  means = {name: float(total) / float(weight) for name, (total, weight) in output.metrics.items()}
  np.testing.assert_allclose(means['contrast_loss'], contrast, rtol=1e-6)
  np.testing.assert_allclose(means['cross_entropy'], expected, rtol=1e-6)
  assert means['contrast_weight'] == 0.25 and means['num_anchors'] == anchors.valid.numpy().sum()


@pytest.mark.parametrize('contrast_weight', [0.0, 0.1])
def test_auxiliary_logits_have_a_cross_entropy_with_its_weight(contrast_weight):
  options = {'contrast_weight': contrast_weight, 'class_weights': (1.0, 2.0, 3.0)}
  method, batch = fixed(**options, auxiliary_weight=0.4)
  alone, _ = fixed(**options)
  coarse = np.random.default_rng(7).normal(size=[2, 3, 3, CLASSES])
  method.model.outputs['auxiliary'] = tf.constant(coarse, tf.float32)
  plain, _ = fixed(contrast_weight=0.0, class_weights=(1.0, 2.0, 3.0))
  plain.model.outputs['logits'] = method.model.outputs['auxiliary']
  auxiliary = float(plain.loss(batch, {}, 0, 0).loss)
  assert auxiliary > 0.5
  output = method.loss(batch, {}, 0, 0)
  expected = float(alone.loss(batch, {}, 0, 0).loss) + 0.4 * auxiliary
  np.testing.assert_allclose(float(output.loss), expected, rtol=1e-6)
  np.testing.assert_allclose(
      float(output.metrics['auxiliary_cross_entropy'][0]), auxiliary, rtol=1e-6)
  outputs = ('logits', 'auxiliary', *(['projection'] if contrast_weight else []))
  assert Contrast.network(method.config)[1] == outputs


def test_logits_of_another_stride_are_sampled_at_the_embedding():
  method, batch = fixed()
  expected = method.loss(batch, {}, 0, 0)
  logits = method.model.outputs['logits']
  # What lies between is not looked at by the sampling of anchors.
  finer = tf.repeat(tf.repeat(logits, 2, axis=1), 2, axis=2).numpy()
  finer[:, 1::2] = finer[:, :, 1::2] = 0
  method.model.outputs['logits'] = tf.constant(finer)
  actual = method.loss(batch, {}, 0, 0)
  assert [float(x) for x in actual.metrics['contrast_loss']] == [
      float(x) for x in expected.metrics['contrast_loss']]


def test_it_is_not_evaluated_in_the_warm_up(monkeypatch):
  method, batch = fixed(warmup_steps=3, memory='both')
  plain, _ = fixed(contrast_weight=0.0)

  def fail(*_, **__):
    raise AssertionError('evaluated')
  with monkeypatch.context() as patch:
    patch.setattr(module, 'contrast_loss', fail)
    output = method.loss(batch, method.initial_state(), 2, 2)
    with pytest.raises(AssertionError, match='evaluated'):
      method.loss(batch, method.initial_state(), 3, 3)
  assert float(output.loss) == float(plain.loss(batch, {}, 2, 2).loss)
  assert [float(x) for x in output.metrics['contrast_weight']] == [0, 1]
  # The queues fill meanwhile.
  assert output.state['pixel_queue_filled'].numpy().tolist() == [6, 6, 6]
  assert output.state['region_queue_filled'].numpy().tolist() == [2, 2, 2]


def test_batches_of_one_step_draw_anchors_and_pixels_by_their_number():
  """The warm-up goes by steps."""
  method, batch = fixed(memory='pixel', warmup_steps=5)
  state = method.loss(batch, method.initial_state(), 0, 0).state
  outputs = {pair: method.loss(batch, state, *pair)
             for pair in ((7, 7), (5, 7), (7, 8), (4, 8))}
  losses = {pair: float(output.loss) for pair, output in outputs.items()}
  assert losses[7, 7] == losses[5, 7] != losses[7, 8]
  assert float(outputs[4, 8].metrics['contrast_loss'][1]) == 0
  pixels = {pair: output.state['pixel_queue_features'].numpy() for pair, output in outputs.items()}
  np.testing.assert_array_equal(pixels[7, 7], pixels[5, 7])
  assert np.any(pixels[7, 7] != pixels[7, 8])


@pytest.mark.parametrize('memory', ['pixel', 'region', 'both'])
def test_a_memory_holds_earlier_batches_alone(memory):
  method, batch = fixed(memory=memory)
  state = {name: tf.constant(value) for name, value in method.initial_state().items()}
  assert {name.partition('_')[0] for name in state} == set(
      {'both': ['pixel', 'region']}.get(memory, [memory]))
  first = method.loss(batch, state, 0, 0)
  assert [float(x) for x in first.metrics['contrast_loss']] == [0, 0]  # no key, no anchor
  second = method.loss(batch, first.state, 1, 1)
  assert float(second.metrics['contrast_loss'][0]) > 0
  remembered = {'pixel': 18, 'region': 6, 'both': 24}[memory]
  assert float(second.metrics['num_remembered'][0]) == remembered
  assert all(value.shape == state[name].shape for name, value in second.state.items())


@pytest.mark.parametrize('side', [43, 96])
def test_what_is_remembered_is_of_its_class_at_any_ratio_of_sizes(side):
  """An embedding tells its pixel's class; maps of 6 x 6, so that labels are sampled at 43 / 6."""
  method, batch = fixed(memory='both', auxiliary_weight=0.4)
  labels = np.random.default_rng(3).integers(0, CLASSES, [2, side, side])
  places = np.floor(np.arange(6) * np.float32(side) / np.float32(6)).astype(int)
  classes = labels[:, places][:, :, places]
  outputs = method.model.outputs
  outputs['projection'] = tf.one_hot(classes, 6)
  outputs['auxiliary'] = outputs['logits']
  batch['label'] = tf.constant(labels, tf.int32)
  first = method.loss(batch, method.initial_state(), 0, 0)
  for queue, count in (('pixel', 6), ('region', 2)):
    assert first.state[f'{queue}_queue_filled'].numpy().tolist() == [count] * CLASSES
    for label in range(CLASSES):  # 0 like any other
      np.testing.assert_array_equal(
          first.state[f'{queue}_queue_features'][label, :count], np.eye(6)[[label] * count])
  # Besides auxiliary logits the memory is used as without them.
  second = method.loss(batch, first.state, 1, 1)
  means = {name: float(total) / float(count) for name, (total, count) in second.metrics.items()}
  assert means['positive_similarity'] == 1 and means['negative_similarity'] == 0
  np.testing.assert_allclose(
      float(second.loss), means['cross_entropy'] + 0.4 * means['auxiliary_cross_entropy']
      + 0.1 * means['contrast_loss'], rtol=1e-6)


@pytest.mark.parametrize('memory', ['none', 'both'])
def test_nothing_labelled_has_loss_zero_and_no_gradient(memory):
  method, batch = fixed(memory=memory)
  batch['label'] = tf.fill(batch['label'].shape, 255)
  outputs = method.model.outputs
  with tf.GradientTape() as tape:
    tape.watch(outputs)
    output = method.loss(batch, method.initial_state(), 0, 0)
  assert float(output.loss) == 0
  for gradient in tape.gradient(
      output.loss, outputs, unconnected_gradients=tf.UnconnectedGradients.ZERO).values():
    assert not np.any(gradient)


def test_more_views_than_pixels_are_refused():
  """A run would have no anchor in any step, and nobody would know."""
  method, batch = fixed(max_views=36)
  with pytest.raises(ValueError, match='--max_views 36: .* whose map has 36'):
    method.loss(batch, {}, 0, 0)
  for options in ({'max_views': 35}, {'max_views': 36, 'contrast_weight': 0.0}):
    method, batch = fixed(**options)
    method.loss(batch, {}, 0, 0)
