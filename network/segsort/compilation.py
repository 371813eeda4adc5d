"""Where a function is being traced: static shapes for XLA, dynamic ones and kernels elsewhere."""

import functools

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


def compiled_where_static(function):
  """A function of tensors that becomes one program of XLA where a graph has all its shapes.

  XLA adds up rows of an image's size several times as fast as TensorFlow's kernels, and does what
  follows along with it. Called eagerly, within a function that XLA compiles anyway, with shapes
  that are not static, or with a scalar tensor, which may be a size, the function is as it was.

  Args:
    function: of tensors, and of ints and floats, which are static; the gradient flows through.
  """
  program = tf.function(function, jit_compile=True, autograph=False)

  @functools.wraps(function)
  def call(*arguments):
    if tf.executing_eagerly() or inside_xla():
      return function(*arguments)
    static = all(
        x.shape.rank and x.shape.is_fully_defined() for x in arguments if tf.is_tensor(x))
    return (program if static else function)(*arguments)

  return call
