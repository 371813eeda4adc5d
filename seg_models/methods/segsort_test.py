import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from seg_models.datasets import dataset_for
from seg_models.methods.segsort import SegSort, SegSortConfig
from seg_models.models import ModelConfig, build_model, variable_names
from utils.train_step import TrainStep
from utils.training import TrainingConfig, make_strategy

CONFIG = ModelConfig(
    name='pspnet_resnet50', output_dim=6, width=0.125, blocks=(1, 1, 1, 1), head_dim=8)
CLASSES = 4
REGIONS = {'initial_segments': 'oversegmentation', 'align_segments': True, 'max_regions': 16,
           'min_piece_share': 0.2}


def batch_of(count, seed=0, height=48, width=48):
  random = np.random.default_rng(seed)
  label = random.integers(0, CLASSES, [count, height // 8, width // 8]).repeat(8, 1).repeat(8, 2)
  label[:, :6] = 255
  valid = np.ones([count, height, width], bool)
  valid[-1, :, 30:] = False
  label[~valid] = 255
  regions = random.integers(0, 5, [count, height // 16, width // 16]).repeat(16, 1).repeat(16, 2)
  regions[~valid] = -1
  y, x = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing='ij')
  return {
      'image': tf.constant(random.normal(size=[count, height, width, 3]) * 50, tf.float32),
      'label': tf.constant(label, tf.int32), 'valid': tf.constant(valid),
      'location': tf.constant(np.stack([y, x], -1)[None].repeat(count, 0), tf.float32),
      'size': tf.constant([[height, width]] * count, tf.int32),
      'oversegmentation': tf.constant(regions, tf.int32),
      'index': tf.range(count, dtype=tf.int64)}


def make(replicas=1, batch_size=4, learning_rate=0.05, **options):
  training = TrainingConfig(
      num_steps=10, batch_size=batch_size, learning_rate=learning_rate)
  strategy = make_strategy(replicas)
  with strategy.scope():
    model = build_model(CONFIG, synchronized=replicas > 1)
  config = SegSortConfig(num_clusters=3, **options)
  method = SegSort(model, dataset_for(None, CLASSES), config, batch_size, seed=5)
  variables = variable_names(model)
  return method, TrainStep(
      method, variables, training, strategy, dict.fromkeys(variables, 1.0))


def values(step):
  return {name: variable.numpy() for name, variable in step.saved_variables().items()}


def assert_close(first, second, tolerance):
  assert first.keys() == second.keys()
  momenta = [np.abs(value).max() for name, value in second.items() if name.endswith('/Momentum')]
  for name in first:
    if not first[name].size:
      continue
    # Relative to the array's own scale; gradients that vanish but for rounding (of what batch norm
    # cancels, say) to the largest gradient's.
    floor = 1e-3 * max(momenta) if name.endswith('/Momentum') else 0.0
    scale = max(np.abs(second[name]).max(), floor)
    np.testing.assert_allclose(
        first[name], second[name], atol=tolerance * scale, err_msg=name)


def test_loss_falls_and_the_memory_fills():
  method, step = make()
  batch = batch_of(4)
  losses = [float(step([batch], index)['loss']) for index in range(8)]
  assert losses[-1] < 0.8 * losses[0]
  metrics = step([batch], 8)
  assert metrics['num_remembered'] > metrics['num_prototypes'] > 4
  assert metrics['positive_similarity'] > metrics['negative_similarity']


def test_the_memory_holds_earlier_batches_and_never_its_own():
  method, step = make(num_banks=2)
  first = step([batch_of(4, seed=1)], 0)
  assert first['num_remembered'] == 0
  after_first = step.state['memory_prototypes'].numpy()
  assert step.state['memory_valid'].numpy()[0].sum() == 0
  assert step.state['memory_valid'].numpy()[1].sum() == min(36, first['num_prototypes'])
  second = step([batch_of(4, seed=2)], 1)
  assert second['num_remembered'] == min(36, first['num_prototypes'])
  np.testing.assert_array_equal(step.state['memory_prototypes'].numpy()[0], after_first[1])


def test_what_is_remembered_of_a_batch_is_chosen_by_its_number():
  method, _ = make(batch_size=1)
  states = {pair: method.loss(batch_of(4), method.initial_state(), *pair).state
            for pair in ((7, 7), (3, 7), (7, 8))}
  kept = {pair: state['memory_prototypes'].numpy() for pair, state in states.items()}
  np.testing.assert_array_equal(kept[7, 7], kept[3, 7])
  assert np.any(kept[7, 7] != kept[7, 8])


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, REGIONS])
def test_two_replicas_equal_one_device_on_the_joined_batch(options):
  results = []
  for replicas in (1, 2):
    # A small rate: clusters and ReLU are discrete, and a larger one lets rounding grow from step to
    # step (at 1e-4 a single unit that changes sides moves an offset by 1 % of its scale).
    _, step = make(replicas, learning_rate=1e-6, **options)
    metrics = [step([batch_of(4, seed=seed)], seed) for seed in range(2)]
    results.append((metrics, values(step)))
  for one, two in zip(*(metrics for metrics, _ in results), strict=True):
    assert one.keys() == two.keys()
    for name in one:
      np.testing.assert_allclose(float(two[name]), float(one[name]), rtol=1e-3, err_msg=name)
  # Momentum holds the gradients; moving statistics are among the variables.
  assert_close(results[1][1], results[0][1], 1e-3)


def test_a_batch_without_a_valid_pixel_has_loss_zero_and_no_gradient():
  method, step = make(batch_size=2)
  batch = batch_of(2)
  batch['label'] = tf.fill(tf.shape(batch['label']), 255)
  with tf.GradientTape() as tape:
    output = method.loss(batch, method.initial_state(), 0, 0)
  gradients = tape.gradient(
      output.loss, list(step.trainable.values()),
      unconnected_gradients=tf.UnconnectedGradients.ZERO)
  assert float(output.loss) == 0
  assert all(not np.any(gradient.numpy()) for gradient in gradients)
  metrics = step([batch], 0)
  assert all(np.isfinite(float(value)) for value in metrics.values())


def test_padding_belongs_to_no_segment():
  method, _ = make()
  maps = method.maps(batch_of(4))
  segments = maps['segments'].numpy()
  assert segments.shape == (4, 6, 6)
  assert (segments[-1, :, 4:] == -1).all()
  assert (segments[:-1] >= 0).all()
  np.testing.assert_allclose(np.linalg.norm(maps['embedding'], axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize('initial', ['grid', 'oversegmentation'])
def test_segments_are_those_of_the_oversegmentation(initial):
  """Without iterations they are the start, or its pieces along the regions."""
  batch = batch_of(2)
  regions = batch['oversegmentation'].numpy()[:, ::8, ::8]
  options = {**REGIONS, 'initial_segments': initial, 'kmeans_iterations': 0, 'min_piece_share': 0.0}
  method, _ = make(batch_size=2, **{**options, 'align_segments': False})
  start = method.maps(batch)['segments'].numpy()
  if initial == 'oversegmentation':
    np.testing.assert_array_equal(start, regions)
  method, _ = make(batch_size=2, **options)
  segments = method.maps(batch)['segments'].numpy()
  for image in range(2):
    pairs = set(zip(start[image].flat, regions[image].flat, segments[image].flat, strict=True))
    assert len(pairs) == len({segment for *_, segment in pairs}) == len(
        {pair[:2] for pair in pairs})
  # The loss sees the same ones, but where the labels say nothing.
  output = method.loss(batch, method.initial_state(), 0, 0)
  labels = batch['label'].numpy()[:, ::8, ::8]
  counted = labels != 255
  images = np.broadcast_to(np.arange(2)[:, None, None], labels.shape)
  pieces = np.stack([values[counted] for values in (images, segments, labels)], axis=1)
  assert float(output.metrics['num_prototypes'][0]) == len(np.unique(pieces, axis=0))


@pytest.mark.parametrize('options, room', [
    ({}, 9), ({'initial_segments': 'oversegmentation'}, 16), ({'align_segments': True}, 9 + 16),
    (REGIONS, 16 + 16)])
def test_a_bank_has_room_for_clusters_and_regions(options, room):
  method, _ = make(**{'max_regions': 16, **options})
  state = method.initial_state()
  assert state['memory_labels'].shape == (2, 4 * room)
  assert SegSort.needs_oversegmentation(method.config) is bool(options)


def test_aligned_segments_are_learned_and_remembered():
  _, step = make(batch_size=2, **REGIONS)
  batch = batch_of(2)
  first = step([batch], 0)
  second = step([batch], 1)
  assert np.isfinite(float(second['loss'])) and float(first['gradient_norm']) > 0
  assert second['num_remembered'] == first['num_prototypes'] > 2


@pytest.mark.parametrize('values', [
    {'concentration': 0.0}, {'num_clusters': 0}, {'num_banks': -1}, {'kmeans_iterations': -1},
    {'max_regions': 0}])
def test_impossible_options_are_refused_by_flag(values):
  with pytest.raises(ValueError, match=f'--{next(iter(values))}'):
    SegSortConfig(**values)
  assert dataclasses.asdict(SegSortConfig())['concentration'] == 10
