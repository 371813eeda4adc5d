"""The losses' contrast in blocks of prototypes with static shapes, as XLA needs them.

Neither memory nor time is spent on places of the set that hold no prototype: those that exist come
first, and blocks behind them are not computed. What is no positive or no negative is masked.
`network.segsort.sorted_contrast` is for TensorFlow's own kernels, which masks would slow down.

Source: SegSort (Hwang et al., ICCV 2019), equations 4 to 6; specs/segsort.md, section 2.
"""

import tensorflow as tf

# Up to this concentration, exp(concentration * (cosine - 1)) of unit vectors is no denormal number.
_SAFE_CONCENTRATION = 40.0
# Lower than every logit, and finite.
_NOTHING = -1e30


def blocked_contrast(concentration, block_size):
  """The loss of each pixel, as a function with a gradient of its own.

  Only the two sums of each pixel are kept for the gradient, which computes the similarities anew,
  block by block: [M, P] numbers are never held.
  """
  def compare(embedding, prototypes, own_index, alone, labels, filled, own_labels, block):
    """One block: prototypes [block, D], logits [M, block], which are positive, negative."""
    start = block * block_size
    members = tf.slice(prototypes, [start, 0], [block_size, -1])
    labels = tf.slice(labels, [start], [block_size])
    filled = tf.slice(filled, [start], [block_size])
    logits = concentration * tf.matmul(embedding, members, transpose_b=True)
    same = own_labels[:, tf.newaxis] == labels
    others = own_index[:, tf.newaxis] != start + tf.range(block_size)
    positive = same & (others | alone[:, tf.newaxis]) & filled
    return members, logits, positive, ~same & filled

  def highest_logits(arguments, num_blocks):
    """What is subtracted from positive and from negative logits before exp, each [M, 1] or []."""
    if concentration <= _SAFE_CONCENTRATION:
      # Cosines are at most 1, and exp(-2 * concentration) is still a normal number.
      return tf.constant(float(concentration)), tf.constant(float(concentration))

    def highest(logits, mask):
      return tf.reduce_max(tf.where(mask, logits, _NOTHING), axis=1, keepdims=True)

    def add_block(block, highest_positive, highest_negative):
      _, logits, positive, negative = compare(*arguments, block)
      return (block + 1, tf.maximum(highest_positive, highest(logits, positive)),
              tf.maximum(highest_negative, highest(logits, negative)))

    nothing = tf.fill([tf.shape(arguments[0])[0], 1], _NOTHING)
    return tf.while_loop(lambda block, *_: block < num_blocks, add_block,
                         [tf.constant(0), nothing, nothing])[1:]

  @tf.custom_gradient
  def contrast(embedding, prototypes, own_index, alone, labels, filled):
    own_labels = tf.gather(labels, tf.maximum(own_index, 0))
    arguments = embedding, prototypes, own_index, alone, labels, filled, own_labels
    num_blocks = -(-tf.reduce_sum(tf.cast(filled, tf.int32)) // block_size)
    highest_positive, highest_negative = highest_logits(arguments, num_blocks)

    def terms(block):
      members, logits, positive, negative = compare(*arguments, block)
      values = tf.exp(logits - tf.where(positive, highest_positive, highest_negative))
      return members, values, positive, negative

    def add_to_sums(block, positive_sum, negative_sum):
      _, values, positive, negative = terms(block)
      return (block + 1,
              positive_sum + tf.reduce_sum(tf.where(positive, values, 0.0), 1, keepdims=True),
              negative_sum + tf.reduce_sum(tf.where(negative, values, 0.0), 1, keepdims=True))

    zero = tf.zeros([tf.shape(embedding)[0], 1])
    _, positive_sum, negative_sum = tf.while_loop(
        lambda block, *_: block < num_blocks, add_to_sums, [tf.constant(0), zero, zero])
    # The log of no negatives is minus infinity, which gives no loss.
    gap = (highest_negative + tf.math.log(negative_sum)) - (
        highest_positive + tf.math.log(positive_sum))
    counted = own_index >= 0
    loss = tf.where(counted, tf.nn.softplus(gap[:, 0]), 0.0)

    def gradient(upstream):
      scale = tf.where(
          counted[:, tf.newaxis], concentration * upstream[:, tf.newaxis] * tf.sigmoid(gap), 0.0)
      positive_scale = -tf.math.divide_no_nan(scale, positive_sum)
      negative_scale = tf.math.divide_no_nan(scale, negative_sum)

      def add_to_gradients(block, embedding_gradient, prototypes_gradient):
        members, values, positive, negative = terms(block)
        weights = tf.where(
            positive, positive_scale * values, tf.where(negative, negative_scale * values, 0.0))
        members_gradient = tf.matmul(weights, embedding, transpose_a=True)
        return (block + 1, embedding_gradient + tf.matmul(weights, members),
                tf.tensor_scatter_nd_update(
                    prototypes_gradient, [[block]], members_gradient[tf.newaxis]))

      shape = tf.shape(prototypes)
      blocks = tf.reshape(tf.zeros_like(prototypes), [-1, block_size, shape[1]])
      _, embedding_gradient, prototypes_gradient = tf.while_loop(
          lambda block, *_: block < num_blocks, add_to_gradients,
          [tf.constant(0), tf.zeros_like(embedding), blocks])
      return embedding_gradient, tf.reshape(prototypes_gradient, shape), None, None, None, None

    return loss, gradient

  return contrast
