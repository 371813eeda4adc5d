"""Object-contextual representations: what each class looks like in an image, told to its pixels.

Source: Yuan et al., Object-Contextual Representations for Semantic Segmentation, ECCV 2020,
section 3.2. All of it is float32 under every precision policy.
"""

import keras
import tensorflow as tf


def object_regions(features, logits):
  """Representation of each class in each image: the mean of the pixels, weighted by softness.

  Args:
    features: [B, h, w, C].
    logits: [B, h, w, K] of an auxiliary classifier; a class's weights are its softmax over pixels.

  Returns:
    float32 [B, K, 1, C] (equation 2).
  """
  shape = tf.shape(features)
  pixels = [shape[0], shape[1] * shape[2]]
  logits = tf.reshape(tf.cast(logits, tf.float32), [*pixels, logits.shape[-1]])
  features = tf.reshape(tf.cast(features, tf.float32), [*pixels, features.shape[-1]])
  weights = tf.nn.softmax(logits, axis=1)
  return tf.einsum('bnk,bnc->bkc', weights, features)[:, :, tf.newaxis]


def object_context(queries, keys, values):
  """What a pixel's relation to all regions tells it: their values, weighted by likeness.

  Args:
    queries: [B, h, w, D] of the pixels.
    keys: [B, K, 1, D] of the regions.
    values: [B, K, 1, C] of the regions.

  Returns:
    float32 [B, h, w, C]: the weights are softmax(<query, key> / sqrt(D)) over the K regions
    (equations 3 and 4; the division is the published network's).
  """
  queries, keys, values = (tf.cast(x, tf.float32) for x in (queries, keys, values))
  likeness = tf.einsum('bhwd,bkd->bhwk', queries, keys[:, :, 0]) * queries.shape[-1] ** -0.5
  return tf.einsum('bhwk,bkc->bhwc', tf.nn.softmax(likeness), values[:, :, 0])


class ObjectRegions(keras.layers.Layer):
  """`object_regions` as a layer, of the features' dtype."""

  def call(self, inputs):
    features, logits = inputs
    return tf.cast(object_regions(features, logits), features.dtype)

  def compute_output_shape(self, shapes):
    features, logits = shapes
    return (features[0], logits[3], 1, features[3])


class ObjectContext(keras.layers.Layer):
  """`object_context` as a layer, of the queries' dtype."""

  def call(self, inputs):
    queries, keys, values = inputs
    return tf.cast(object_context(queries, keys, values), queries.dtype)

  def compute_output_shape(self, shapes):
    return (*shapes[0][:3], shapes[2][3])
