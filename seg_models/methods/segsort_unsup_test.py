import numpy as np
import pytest
import tensorflow as tf

from seg_models.datasets import dataset_for
from seg_models.methods.segsort_unsup import SegSortUnsup, SegSortUnsupConfig
from seg_models.models import ModelConfig, build_model, variable_names
from utils.train_step import TrainStep
from utils.training import TrainingConfig, make_strategy

CONFIG = ModelConfig(name='fcn_resnet50', output_dim=6, width=0.125, blocks=(1, 1, 1, 1))


def batch_of(count, seed=0):
  random = np.random.default_rng(seed)
  regions = random.integers(0, 5, [count, 6, 6]).repeat(8, 1).repeat(8, 2)
  regions[-1, :, 30:] = -1
  image = random.normal(size=[count, 48, 48, 3]) * 50
  image[regions < 0] = 0
  return {'image': tf.constant(image, tf.float32),
          'oversegmentation': tf.constant(regions, tf.int32)}


def make(replicas=1):
  strategy = make_strategy(replicas)
  with strategy.scope():
    model = build_model(CONFIG, synchronized=replicas > 1)
  method = SegSortUnsup(
      model, dataset_for(None, 4), SegSortUnsupConfig(max_regions=9), 4, seed=0)
  variables = variable_names(model)
  training = TrainingConfig(num_steps=10, batch_size=4, learning_rate=0.05)
  return method, TrainStep(
      method, variables, training, strategy, dict.fromkeys(variables, 1.0))


def oracle(method, batch):
  """The loss in float64, pixel by pixel, padding left out."""
  embedding = method.model(batch['image'], training=True).numpy().astype(np.float64)
  embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
  regions = batch['oversegmentation'].numpy()[:, ::8, ::8]
  members = {}
  for place in np.ndindex(regions.shape):
    if regions[place] >= 0:
      members.setdefault((place[0], regions[place]), []).append(embedding[place])
  sums = {key: np.sum(value, axis=0) for key, value in members.items()}
  prototypes = {key: value / np.linalg.norm(value) for key, value in sums.items()}
  losses = []
  for key, pixels in members.items():
    for pixel in pixels:
      terms = {other: np.exp(10 * pixel @ value) for other, value in prototypes.items()}
      losses.append(-np.log(terms[key] / sum(terms.values())))
  return np.mean(losses), len(prototypes)


def test_loss_equals_the_oracle_and_falls():
  method, step = make()
  batch = batch_of(4)
  expected, count = oracle(method, batch)
  first = step([batch], 0)
  np.testing.assert_allclose(float(first['loss']), expected, rtol=1e-4)
  assert int(first['num_prototypes']) == count
  for index in range(1, 6):
    last = step([batch], index)
  assert float(last['loss']) < 0.9 * float(first['loss'])


@pytest.mark.slow
def test_two_replicas_equal_one_device():
  batch = batch_of(4)
  plain, other = (make(replicas)[1]([batch], 0) for replicas in (1, 2))
  for name in plain:
    np.testing.assert_allclose(float(other[name]), float(plain[name]), rtol=1e-3, err_msg=name)


def test_padding_alone_has_loss_zero():
  method, step = make()
  batch = batch_of(2)
  batch['oversegmentation'] = tf.fill(tf.shape(batch['oversegmentation']), -1)
  metrics = step([batch], 0)
  assert float(metrics['loss']) == 0
  assert float(metrics['gradient_norm']) == 0


def test_maps_show_the_regions():
  method, _ = make()
  batch = batch_of(2)
  np.testing.assert_array_equal(
      method.maps(batch)['segments'], batch['oversegmentation'][:, ::8, ::8])


@pytest.mark.parametrize('values', [{'concentration': -1.0}, {'max_regions': 0}])
def test_impossible_options_are_refused_by_flag(values):
  with pytest.raises(ValueError, match=f'--{next(iter(values))}'):
    SegSortUnsupConfig(**values)
