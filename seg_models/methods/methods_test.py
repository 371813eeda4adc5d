"""What holds for the training step of every method, compiled or not and in every precision."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from seg_models.augmentation import AugmentationConfig
from seg_models.datasets import dataset_for
from seg_models.methods import METHODS
from seg_models.scene_batches import scene_batch
from seg_models.training_setup import NetworkConfig, start_step
from utils.training import TrainingConfig

NETWORK = NetworkConfig(model='fcn_resnet50', width=0.125, blocks=(1, 1, 1, 1), embedding_dim=6)
DATASET = dataset_for(None, 6)
AUGMENTATION = AugmentationConfig((64, 64), random_scale=True, scale_range=(0.7, 1.5))
# More of a method than its defaults, and on a network with more of a head.
VARIANTS = {'segsort': [{
    'initial_segments': 'oversegmentation', 'align_segments': True, 'min_piece_share': 0.2,
    'max_regions': 64}]}
# Without which a method refuses crops as small as these, or computes with far more than they hold.
SMALL = {'contrast': {'max_views': 8, 'max_samples': 64, 'projection_dim': 16}}
CASES = [(name, options) for name in METHODS
         for options in [SMALL.get(name, {}), *VARIANTS.get(name, [])]]
# All of a method, which after the first step is at work, and whose memories then overflow.
WHOLE = {'contrast': {
    'warmup_steps': 1, 'memory': 'both', 'memory_size': 20, 'pixel_update_freq': 3}}


def make(name, options, **training):
  config = TrainingConfig(num_steps=100, **{'batch_size': 2, **training})
  network = NETWORK
  if options in VARIANTS.get(name, []):
    network = dataclasses.replace(NETWORK, model='pspnet_resnet50', head_dim=8)
  return start_step(network, config, DATASET, METHODS[name], METHODS[name].Config(**options))


def batch_of(step, count=2):
  return scene_batch(step, count, AUGMENTATION, DATASET)


@pytest.mark.slow
@pytest.mark.parametrize('name, options', CASES)
def test_compiled_equals_uncompiled_and_is_traced_once(name, options):
  """Tolerance 1e-3 of each array's scale, or for momenta of the largest one's.

  The rate is small: a network that moves by 1e-4 of its gradients lets rounding grow to 5 % of some
  within a step, by what batch norm and ReLU make of it.
  """
  options = {**options, **WHOLE.get(name, {})}
  plain, compiled = (
      make(name, options, jit_compile=choice, learning_rate=1e-6) for choice in (False, True))
  for index in range(3):
    expected, metrics = (step([batch_of(index)], index) for step in (plain, compiled))
    assert metrics.keys() == expected.keys()
    for key in expected:
      np.testing.assert_allclose(
          float(metrics[key]), float(expected[key]), rtol=1e-3, err_msg=f'{key} of step {index}')
  assert compiled._whole.experimental_get_tracing_count() == 1
  expected, found = plain.saved_variables(), compiled.saved_variables()
  assert found.keys() == expected.keys()
  largest = max(np.abs(value.numpy()).max() for key, value in expected.items()
                if key.endswith('/Momentum'))
  for key, value in expected.items():
    # Gradients that vanish but for rounding (of what batch norm cancels) have no own scale.
    floor = 1e-3 * largest if key.endswith('/Momentum') else 0.0
    scale = max(np.abs(value.numpy()).max(), floor)
    np.testing.assert_allclose(
        found[key].numpy(), value.numpy(), atol=1e-3 * scale, rtol=0, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize('name', METHODS)
def test_lower_precision_learns_as_float32_does(name):
  batches = [batch_of(index, count=4) for index in range(2)]
  means = {}
  for precision in ('float32', 'mixed_bfloat16', 'mixed_float16'):
    step = make(name, SMALL.get(name, {}), precision=precision, batch_size=4, learning_rate=0.02)
    model = step.method.model
    assert precision.removeprefix('mixed_') in {layer.compute_dtype for layer in model.layers}
    # `TrainStep` itself refuses a loss of anything but float32.
    outputs = tf.nest.flatten(model(batches[0]['image'], training=False))
    assert {output.dtype for output in outputs} == {tf.float32}
    losses = [float(step([batches[index % 2]], index)['loss']) for index in range(40)]
    means[precision] = np.mean(losses[:4]), np.mean(losses[-4:])
  first, last = means['float32']
  assert last < 0.5 * first
  for begin, end in means.values():
    np.testing.assert_allclose(begin, first, rtol=0.1)
    np.testing.assert_allclose(end, last, atol=0.15 * (first - last))
