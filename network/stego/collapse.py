"""Whether codes still tell anything apart."""

import tensorflow as tf

from network.segsort.prototypes import l2_normalize


def effective_rank(code):
  """In how many directions codes point: 1 / the mean squared cosine of two codes.

  Args:
    code: float [..., D], any length.

  Returns:
    float32 scalar, from 1, where all codes lie on one line, to D; 0 where all are zero. It is the
    participation ratio of the eigenvalues of the unit codes' second moment.
  """
  unit = tf.reshape(l2_normalize(code), [-1, code.shape[-1]])
  moment = tf.matmul(unit, unit, transpose_a=True)
  return tf.math.divide_no_nan(tf.linalg.trace(moment) ** 2, tf.reduce_sum(tf.square(moment)))
