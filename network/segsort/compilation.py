"""Where a function is being traced: static shapes for XLA, dynamic ones and kernels elsewhere."""

import tensorflow as tf
from tensorflow.python.ops import control_flow_util


def inside_xla():
  """Whether what is being traced will be compiled by XLA: within tf.function(jit_compile=True).

  XLA needs static shapes and masks. TensorFlow's own kernels are better served by slices of what
  there is. A tf.function is traced once for both: whoever asks must not be in one that is called
  from compiled and from other functions.
  """
  # TensorFlow has no public name for this; Keras and tf.while_loop ask the same way.
  return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(
      tf.compat.v1.get_default_graph())
