"""Object-contextual representations against loops, and their laws."""

import numpy as np
import pytest
import tensorflow as tf

from network.common import ocr


def random(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def softmax(x):
  exponentials = np.exp(x.astype(np.float64) - x.max())
  return exponentials / exponentials.sum()


def oracle_regions(features, logits):
  batch, _, _, classes = logits.shape
  out = np.zeros((batch, classes, 1, features.shape[-1]))
  for image in range(batch):
    for label in range(classes):
      weights = softmax(logits[image, :, :, label])
      for place, weight in np.ndenumerate(weights):
        out[image, label, 0] += weight * features[image][place]
  return out


def oracle_context(queries, keys, values):
  out = np.zeros((*queries.shape[:3], values.shape[-1]))
  for image, row, column in np.ndindex(queries.shape[:3]):
    query = queries[image, row, column]
    weights = softmax(keys[image, :, 0] @ query / np.sqrt(len(query)))
    out[image, row, column] = weights @ values[image, :, 0]
  return out


@pytest.mark.parametrize('compiled', [False, True])
def test_equal_to_loops(compiled):
  features, logits = random(2, 3, 5, 4), 3 * random(2, 3, 5, 6, seed=1)
  regions = tf.function(ocr.object_regions, jit_compile=compiled)(features, logits)
  np.testing.assert_allclose(regions, oracle_regions(features, logits), atol=1e-5)
  queries, keys, values = random(2, 3, 5, 4), random(2, 6, 1, 4, seed=1), random(2, 6, 1, 7)
  context = tf.function(ocr.object_context, jit_compile=compiled)(queries, keys, values)
  np.testing.assert_allclose(context, oracle_context(queries, keys, values), atol=1e-5)


def test_a_certain_region_is_the_mean_of_its_pixels():
  features = random(1, 4, 4, 3)
  labels = np.random.default_rng(1).integers(0, 2, (1, 4, 4))
  logits = np.where(labels[..., np.newaxis] == np.arange(2), 100.0, -100.0).astype(np.float32)
  regions = ocr.object_regions(features, logits)
  for label in range(2):
    np.testing.assert_allclose(
        regions[0, label, 0], features[labels == label].mean(axis=0), atol=1e-5)


def test_float32_inside_and_the_features_dtype_outside():
  # 1000 pixels of weight 1/1000 each: a sum in half precision would be off by far more.
  features = tf.cast(tf.fill([1, 20, 50, 2], 3.0), tf.float16)
  layer = ocr.ObjectRegions(dtype='mixed_float16')
  regions = layer([features, tf.zeros([1, 20, 50, 2], tf.float16)])
  assert regions.dtype == tf.float16
  np.testing.assert_allclose(regions, 3.0, rtol=1e-3)
  context = ocr.ObjectContext(dtype='mixed_float16')([
      60000 * tf.ones([1, 1, 1, 2], tf.float16), 600 * tf.ones([1, 3, 1, 2], tf.float16),
      tf.ones([1, 3, 1, 5], tf.float16)])
  assert context.dtype == tf.float16 and context.shape == (1, 1, 1, 5)
  np.testing.assert_allclose(context, 1.0, rtol=1e-3)
