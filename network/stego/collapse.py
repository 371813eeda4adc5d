"""Whether codes still tell anything apart, those of all replicas together."""

import tensorflow as tf

from network.common import replicas
from network.segsort.prototypes import l2_normalize


def effective_rank(code):
  """In how many directions codes point: 1 / the mean squared cosine of two codes.

  Args:
    code: float [..., D], any length; those of this replica.

  Returns:
    float32 scalar, from 1, where all codes lie on one line, to D; 0 where all are zero. It is the
    participation ratio of the eigenvalues of the unit codes' second moment.
  """
  unit = tf.reshape(l2_normalize(code), [-1, code.shape[-1]])
  moment = replicas.sum_over_replicas(tf.matmul(unit, unit, transpose_a=True))
  return tf.math.divide_no_nan(tf.linalg.trace(moment) ** 2, tf.reduce_sum(tf.square(moment)))


def used_clusters(similarities):
  """How many clusters pixels are spread over, exp of the entropy of the clusters' shares.

  Args:
    similarities: float32 [..., K]; a pixel is of its most similar cluster. Of as many pixels on
      each replica. No gradient.

  Returns:
    float32 scalar, 1 to K.
  """
  choice = tf.one_hot(tf.argmax(similarities, -1), similarities.shape[-1])
  share = tf.reduce_mean(tf.reshape(choice, [-1, similarities.shape[-1]]), axis=0)
  share = replicas.sum_over_replicas(share) / replicas.num_replicas()
  return tf.exp(-tf.reduce_sum(tf.math.xlogy(share, share)))
