"""Sizes of tensors that are static where they can be, as jit_compile needs them."""

import tensorflow as tf


def dims(x):
  """Sizes of a tensor's axes: list of ints, of scalar int32 tensors where they are not static."""
  dynamic = tf.shape(x)
  return [dynamic[axis] if size is None else size for axis, size in enumerate(x.shape)]


def per_image(x):
  """[B, H, W, ...] -> [B, H * W, ...]."""
  batch, height, width, *rest = dims(x)
  return tf.reshape(x, [batch, height * width, *rest])
