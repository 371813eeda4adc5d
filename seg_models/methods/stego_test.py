import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from network.stego.crf_loss import crf_loss
from seg_models.datasets import dataset_for
from seg_models.methods.stego import Stego
from seg_models.methods.stego_config import DEFAULTS, StegoConfig
from utils.cluster_matching import ClusterCounts, match, matched_confusion
from utils.train_step import TrainStep
from utils.training import TrainingConfig, make_strategy

DATASET = dataset_for(None, 3)
CHANNELS = 12
SMALL = {'dim': 6, 'feature_samples': 3, 'neg_samples': 2}


def batch_of(seed=0, images=4, labelled=True, noise=0.3):
  """Images of three regions each, whose features are three directions and noise."""
  random = np.random.default_rng(seed)
  directions = np.linalg.qr(np.random.default_rng(9).normal(size=[CHANNELS, CHANNELS]))[0][:3]
  labels = np.sort(random.integers(0, 3, [2, images, 5, 6]), -1)
  features = (directions[labels] + noise * random.normal(
      size=[*labels.shape, CHANNELS]) / np.sqrt(CHANNELS)).astype(np.float32)
  label = np.repeat(np.repeat(labels[0], 2, 1), 2, 2).astype(np.int32)
  image = label[..., np.newaxis] * 80 - 100 + random.normal(size=[*label.shape, 3])
  return {'features': tf.constant(features[0]), 'partner_features': tf.constant(features[1]),
          'label': tf.constant(label if labelled else np.full_like(label, -1)),
          'image': tf.constant(image, tf.float32), 'index': tf.range(images, dtype=tf.int64)}


def make(seed=1, **options):
  config = StegoConfig(**{**SMALL, **options})
  model = Stego.build_head(CHANNELS, config, seed)
  return Stego(model, DATASET, config, 4, seed)


def evaluate(method, batch, step=0):
  """Loss, metrics' values, and gradients by name."""
  variables = method.variables()
  with tf.GradientTape() as tape:
    output = method.loss(batch, method.initial_state(), step, step)
  gradients = tape.gradient(output.loss, [variable.value for variable in variables.values()],
                            unconnected_gradients=tf.UnconnectedGradients.ZERO)
  metrics = {name: float(tf.math.divide_no_nan(*pair)) for name, pair in output.metrics.items()}
  return float(output.loss), metrics, {
      name: tf.convert_to_tensor(value).numpy()
      for name, value in zip(variables, gradients, strict=True)}


def train_step(strategy=None, steps=60, learning_rate=5e-3, jit_compile=False, **options):
  strategy = strategy or tf.distribute.get_strategy()
  with strategy.scope():
    method = make(**options)
  training = {name: value for name, value in DEFAULTS.items() if name != 'size'}
  loop = TrainingConfig(**{**training, 'batch_size': 4, 'num_steps': steps, 'seed': 1,
                           'learning_rate': learning_rate, 'jit_compile': jit_compile})
  return TrainStep(method, method.variables(), loop, strategy, method.rate_multipliers())


def test_the_loss_is_the_weighted_sum_of_its_parts():
  method = make(rec_weight=0.3, crf_weight=0.2, crf_samples=20, correspondence_weight=2.0)
  loss, metrics, gradients = evaluate(method, batch_of())
  expected = (2 * (0.67 * metrics['self_loss'] + 0.25 * metrics['neighbour_loss']
                   + 0.63 * metrics['random_loss'])
              + 0.3 * metrics['reconstruction_loss'] + 0.2 * metrics['crf_loss']
              + metrics['cluster_loss'] + metrics['linear_loss'])
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  assert all(np.any(value) and np.isfinite(value).all() for value in gradients.values())
  assert set(gradients) == {
      f'head/{name}/{kind}' for name in ('linear', 'hidden', 'last')
      for kind in ('kernel', 'bias')} | {
          'decoder/kernel', 'decoder/bias', 'linear_probe/kernel', 'linear_probe/bias',
          'cluster_probe/centroids'}


def test_probes_learn_ten_times_as_fast_and_teach_the_head_nothing():
  method, batch = make(), batch_of()
  rates = method.rate_multipliers()
  assert {name for name, rate in rates.items() if rate == 10} == {
      'linear_probe/kernel', 'linear_probe/bias', 'cluster_probe/centroids'}
  assert set(rates.values()) == {1, 10}
  _, _, gradients = evaluate(method, batch)
  other = make()
  other.centroids.assign(-other.centroids)
  other.probe.kernel.assign(tf.ones_like(other.probe.kernel))
  for found in (evaluate(other, batch)[2], evaluate(method, batch_of(labelled=False))[2]):
    for name in gradients:
      if name.startswith('head/'):
        np.testing.assert_array_equal(found[name], gradients[name])


def test_without_labels_there_is_no_linear_loss_and_nothing_else_changes():
  """The original's is NaN."""
  method = make()
  loss, metrics, gradients = evaluate(method, batch_of())
  other, unlabelled, without = evaluate(method, batch_of(labelled=False))
  assert unlabelled['linear_loss'] == 0 and metrics['linear_loss'] > 0
  np.testing.assert_allclose(other, loss - metrics['linear_loss'], rtol=1e-5)
  assert not without['linear_probe/kernel'].any() and gradients['linear_probe/kernel'].any()


def test_without_correspondence_only_probes_are_trained():
  """The original ends with an error. One image is enough."""
  batch = batch_of(images=1)
  del batch['partner_features']
  _, metrics, gradients = evaluate(make(correspondence_weight=0.0), batch)
  assert 'self_loss' not in metrics
  assert {name for name, value in gradients.items() if value.any()} == {
      'linear_probe/kernel', 'linear_probe/bias', 'cluster_probe/centroids'}


def test_a_batch_of_one_image_is_refused():
  with pytest.raises(ValueError, match='a batch of 1: .*raise --batch_size'):
    evaluate(make(), batch_of(images=1))


def test_randomness_is_of_seed_and_step_alone():
  batch = batch_of()
  first = evaluate(make(), batch, step=7)
  again, other, seed = (evaluate(make(), batch, step=7), evaluate(make(), batch, step=8),
                        evaluate(make(seed=2), batch, step=7))
  assert again[1] == first[1]
  for changed in (other, seed):
    assert changed[1]['self_loss'] != first[1]['self_loss']


def test_batches_of_one_step_differ_by_their_number_and_count_as_one():
  batch, method = batch_of(), make(crf_weight=0.2, crf_samples=20)
  state = method.initial_state()
  losses = {pair: float(method.loss(batch, state, *pair).loss)
            for pair in ((7, 7), (3, 7), (7, 8))}
  assert losses[7, 7] == losses[3, 7] != losses[7, 8]
  assert Stego.once_a_step == tuple(state)


OPTIONS = [
    {'pointwise': False}, {'zero_clamp': False}, {'stabilize': True}, {'dropout': 0.0},
    {'drop_features': False}, {'feature_samples': 4}, {'neg_samples': 3}, {'self_shift': 0.3},
    {'neighbour_shift': 0.3}, {'random_shift': 0.3}, {'self_weight': 2.0},
    {'neighbour_weight': 0.0}, {'random_weight': 0.0}, {'faithful_pairing': True},
    {'projection': 'linear'}, {'cluster_alpha': 3.0}, {'projection': 'none', 'dim': None},
    {'num_clusters': 5}, {'correspondence_weight': 0.5}, {'rec_weight': 0.1}, {'crf_weight': 0.1},
    {'dim': 5}]
CRF_OPTIONS = [
    {'crf_alpha': 5.0}, {'crf_beta': 5.0}, {'crf_gamma': 5.0}, {'crf_w1': 1.0}, {'crf_w2': 9.0},
    {'crf_shift': 0.3}, {'crf_samples': 50}]


@pytest.mark.parametrize('option', OPTIONS)
def test_every_option_does_something(option):
  batch = batch_of(noise=1.0)
  losses = [evaluate(make(**options), batch, step=3)[0] for options in ({}, option)]
  assert abs(losses[0] - losses[1]) > 1e-5


@pytest.mark.parametrize('option', CRF_OPTIONS)
def test_options_of_the_crf_loss_do_something(option):
  losses = [evaluate(make(crf_weight=1.0, **{'crf_samples': 60, **options}), batch_of())[1]
            for options in ({}, option)]
  assert abs(losses[0]['crf_loss'] - losses[1]['crf_loss']) > 1e-4
  assert Stego.needs_images(StegoConfig(crf_weight=1.0)) and not Stego.needs_images(StegoConfig())


def test_no_option_is_forgotten():
  """Of the original's a third does nothing. Batches and inference have the others."""
  others = {'num_neighbors', 'cluster_start', 'test_alpha'}
  tried = {name for option in (*OPTIONS, *CRF_OPTIONS) for name in option}
  assert tried | others == {field.name for field in dataclasses.fields(StegoConfig)}
  code = make().codes(batch_of()['features'])
  soft, sharp = (make(test_alpha=alpha).cluster_log_probs(code, {}) for alpha in (2.0, 9.0))
  unit, centres = (x / np.linalg.norm(x, axis=-1, keepdims=True)
                   for x in (code.numpy(), make().centroids.numpy()))
  for found, alpha in ((soft, 2), (sharp, 9)):
    shares = np.exp(alpha * unit @ centres.T)
    np.testing.assert_allclose(
        np.exp(found), shares / shares.sum(-1, keepdims=True), rtol=1e-4)


def test_colours_of_the_crf_loss_are_imagenets():
  method, batch = make(crf_weight=1.0, crf_samples=40, dropout=0.0), batch_of()
  rgb = batch['image'].numpy() + np.float32([122.675, 116.669, 104.008])
  normal = (rgb / 255 - [.485, .456, .406]) / [.229, .224, .225]
  # The last of five kinds of random numbers of step 2.
  expected = crf_loss(np.float32(normal), method.codes(batch['features']), [1, 5 * 2 + 4], 40)
  np.testing.assert_allclose(evaluate(method, batch, step=2)[1]['crf_loss'], expected, rtol=1e-4)


def test_training_finds_the_regions():
  """Codes of random images part, clusters are the classes, and the linear probe finds them."""
  step = train_step(steps=60)
  metrics = [step([batch_of(index)], index) for index in range(60)]
  method, batch = step.method, batch_of(1000)
  code = tf.image.resize(method.codes(batch['features']), batch['label'].shape[1:])
  scores = {}
  for name, log_probs in (('clusters', method.cluster_log_probs(code, step.state)),
                          ('linear', method.linear_log_probs(code))):
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(log_probs), -1), 1, rtol=1e-5)
    counts = ClusterCounts(3, -1)
    counts.update(batch['label'].numpy(), np.argmax(log_probs, -1))
    classes = match(counts.counts) if name == 'clusters' else np.arange(3)
    scores[name] = matched_confusion(counts.counts, classes, -1).pixel_accuracy()
  assert scores['linear'] > 0.9, scores
  assert float(metrics[-1]['linear_loss']) < 0.5 * float(metrics[0]['linear_loss'])
  assert float(metrics[-1]['effective_rank']) > 1.5
  assert float(metrics[-1]['loss']) < float(metrics[0]['loss'])
  assert float(metrics[-1]['neighbour_similarity']) < float(metrics[-1]['self_similarity'])
  assert scores['clusters'] > 0.6, scores


def test_clusters_may_begin_by_k_means():
  class Store:
    def __len__(self):
      return 8

    def features(self, indices):
      return batch_of(5, images=8, noise=0.1)['features'].numpy()[indices]

  method, other, random = make(), make(cluster_start='random'), make()
  method.prepare(Store())
  other.prepare(Store())
  np.testing.assert_array_equal(other.centroids.numpy(), random.centroids.numpy())
  lengths = np.linalg.norm(method.centroids.numpy(), axis=1)
  np.testing.assert_allclose(lengths, np.sqrt(6), rtol=1e-5)
  found, before = (evaluate(each, batch_of())[1] for each in (method, other))
  assert found['cluster_loss'] < before['cluster_loss'] and found['used_clusters'] > 2
  assert found['self_loss'] == before['self_loss']


@pytest.mark.slow
def test_compiled_equals_eager():
  plain, compiled = (train_step(jit_compile=choice) for choice in (False, True))
  for index in range(3):
    expected, found = (step([batch_of(index)], index) for step in (plain, compiled))
    for name, value in expected.items():
      np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_two_replicas_take_the_step_of_one_device():
  alone, together = train_step(), train_step(make_strategy(2))
  for index in range(2):
    expected, found = (step([batch_of(index)], index) for step in (alone, together))
    for name in ('loss', 'self_loss', 'neighbour_loss', 'random_loss', 'cluster_loss',
                 'linear_loss', 'random_similarity', 'gradient_norm', 'collapsed_steps'):
      np.testing.assert_allclose(found[name], expected[name], rtol=2e-4, err_msg=name)


def test_a_lasting_collapse_is_said():
  """Codes that are the same everywhere; then codes that are not."""
  method, batch = make(projection='none', dim=None, dropout=0.0), batch_of()
  flat = {name: tf.ones_like(value) if 'features' in name else value
          for name, value in batch.items()}
  state = {'collapsed_steps': tf.constant(198)}
  for expected in (199, 200):
    output = method.loss(flat, state, 0, 0)
    state, metrics = output.state, {
        name: float(total / weight) for name, (total, weight) in output.metrics.items()
        if float(weight)}
    assert metrics['collapsed_steps'] == expected
    np.testing.assert_allclose(metrics['effective_rank'], 1, rtol=1e-5)
    assert (method.warning(metrics) is None) == (expected < 200)
  assert 'one cluster' in method.warning({**metrics, 'used_clusters': 1.0})
  assert '--random_shift' in method.warning({**metrics, 'used_clusters': 3.0})
  output = make().loss(batch, state, 0, 0)
  assert int(output.state['collapsed_steps']) == 0


def test_histograms_are_of_all_pairs():
  method, batch = make(dropout=0.0), batch_of()
  values = method.histograms(batch, method.initial_state(), tf.constant(5))
  assert {name: value.shape for name, value in values.items()} == {
      f'{what}/{name}': ((1,) if name == 'random' else ()) + (4, 9, 9)
      for what in ('similarity', 'feature_similarity') for name in ('self', 'neighbour', 'random')}
  _, metrics, _ = evaluate(method, batch, step=5)
  for name in ('self', 'neighbour'):
    for what in ('similarity', 'feature_similarity'):
      np.testing.assert_allclose(
          values[f'{what}/{name}'].mean(), metrics[f'{name}_{what}'], rtol=1e-5)
  assert all(abs(value).max() < 1.00001 for value in values.values())
