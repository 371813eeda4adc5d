"""The arithmetic that float32 stands for."""

import tensorflow as tf


def exact_float32(exact=True):
  """Makes float32 on NVIDIA GPUs mean float32, in the whole process.

  By default TensorFlow runs float32 matrix products and convolutions there as TF32, whose factors
  have 10 bits of mantissa. Cosines then come with errors of 1e-3: k-means and the k nearest
  neighbours tell apart what is closer than that, and results would be beyond the tolerances of the
  reference files. Where speed matters, bfloat16 convolutions are faster still, and leave the rest
  exact.

  Args:
    exact: False for TensorFlow's default.
  """
  tf.config.experimental.enable_tensor_float_32_execution(not exact)
