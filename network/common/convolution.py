"""Dilated (atrous) convolution by the device's own kernels.

`tf.nn.convolution`, which Keras calls, takes a dilated convolution apart into many small dense ones
(SpaceToBatchND) on everything but TPUs: copies at rate 2, and at the rates of an atrous pyramid
mostly padding. oneDNN, cuDNN and XLA have dilation of their own, forward and backward.
"""

import functools

import keras
import tensorflow as tf


@functools.cache
def has_dilated_gradient(dtype='float32'):
  """Whether the gradient of a dilated convolution has a kernel here: on GPUs, and by oneDNN.

  TensorFlow's own kernels for CPUs, which are used where oneDNN is not (on ARM, in float16 on most
  processors, or with TF_ENABLE_ONEDNN_OPTS=0), have none. The way to know is to try it.
  """
  if tf.config.list_physical_devices('GPU'):
    return True
  with tf.init_scope(), tf.device('CPU:0'):
    try:
      tf.raw_ops.Conv2DBackpropInput(
          input_sizes=[1, 3, 3, 1], filter=tf.ones([3, 3, 1, 1], dtype),
          out_backprop=tf.ones([1, 3, 3, 1], dtype), strides=[1, 1, 1, 1], padding='SAME',
          dilations=[1, 2, 2, 1])
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
      return False
  return True


class Conv2D(keras.layers.Conv2D):
  """`keras.layers.Conv2D` (channels last) with the device's own dilation where there is one."""

  def convolution_op(self, inputs, kernel):
    if max(self.dilation_rate) == 1 or not has_dilated_gradient(self.compute_dtype):
      return super().convolution_op(inputs, kernel)
    return tf.nn.conv2d(
        inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate)
