"""What one replica of a synchronous data-parallel step must know of the others.

Every function is the identity where there is one replica, and differentiable: the gradient of a sum
over replicas is the sum of the replicas' gradients. They are called in replica context only.
"""

import tensorflow as tf


def _context():
  context = tf.distribute.get_replica_context()
  if context is None:
    raise RuntimeError('called across replicas; call it inside strategy.run')
  return context


def num_replicas():
  """Number of replicas of the running step, a Python int."""
  return _context().num_replicas_in_sync


def sum_over_replicas(value):
  """Sum of a tensor over the replicas, the same on each."""
  if num_replicas() == 1:
    return value

  @tf.custom_gradient
  def total(value):
    # TensorFlow looks for the variables that such a sum depends on: through the whole graphs of the
    # other replicas, for each batch norm anew, unless the sum's own inputs end the search.
    return _total(value), _total
  return total(value)


def _total(value):
  return _context().all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(value))


def own_offset(rows):
  """Where this replica's rows begin in what `gather_rows` returns: int32 scalar."""
  context = _context()
  if context.num_replicas_in_sync == 1:
    return tf.constant(0)
  return tf.cast(context.replica_id_in_sync_group, tf.int32) * rows


def gather_rows(values):
  """Rows of all replicas in the order of the replicas.

  Each replica puts its rows into a zero array at its place and the arrays are summed: unlike an
  all-gather this has a gradient under every strategy, and prototypes are few.

  Args:
    values: [rows, ...] float or integer tensor, of the same static shape on every replica.

  Returns:
    [replicas * rows, ...], the same on each replica. For floats the gradient reaches every replica.
  """
  count = num_replicas()
  if count == 1:
    return values
  placed = tf.one_hot(_context().replica_id_in_sync_group, count, dtype=values.dtype)
  placed = tf.reshape(placed, [count] + [1] * len(values.shape)) * values[None]
  gathered = sum_over_replicas(placed)
  return tf.reshape(gathered, tf.concat([[-1], tf.shape(values)[1:]], 0))
