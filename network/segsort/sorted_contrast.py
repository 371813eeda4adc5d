"""The losses' contrast on sorted pixels and prototypes, for TensorFlow's own kernels.

Pixels are sorted by class and prototypes too, so that for the pixels of a class the positive and
the negative prototypes are slices, and nothing has to be masked but a pixel's own prototype. What
is computed of a part of the pixels stays in the processor's cache. Shapes are those of what there
is: XLA needs `network.segsort.blocked_contrast` instead.

Source: SegSort (Hwang et al., ICCV 2019), equations 4 to 6; specs/segsort.md, section 2.
"""

from typing import NamedTuple

import tensorflow as tf

# Pixels that are compared together.
PART = 1024
# Up to this concentration no share of a softmax over cosines of unit vectors is denormal.
SAFE_CONCENTRATION = 30.0
# Lower than every logit, and finite.
_NOTHING = -1e30


class Groups(NamedTuple):
  """Pixels and prototypes by class; the first group is empty, so that there always is one.

  pixels: int32 [n], the pixels that count, sorted by class.
  order: int32 [p], the prototypes that exist, sorted by label.
  own: int32 [n], the place of each sorted pixel's own prototype among the sorted ones.
  rows, columns: int32 [G + 1], where each group begins among the sorted pixels and prototypes.
  memory_order: int32 [q], the remembered prototypes that exist, sorted by label.
  memory_begin, memory_end: int32 [G], where each group is among them.
  """
  pixels: tf.Tensor
  order: tf.Tensor
  own: tf.Tensor
  rows: tf.Tensor
  columns: tf.Tensor
  memory_order: tf.Tensor
  memory_begin: tf.Tensor
  memory_end: tf.Tensor


def group_by_class(own_index, labels, valid, memory_labels, memory_valid):
  """Sorts pixels and prototypes by class.

  Args:
    own_index: int32 [M] in [0, P); pixels with a negative one, or one that is not valid, do not
      count.
    labels: int32 [P].
    valid: bool [P].
    memory_labels, memory_valid: int32 [Q] and bool [Q].

  Returns:
    `Groups`.
  """
  order, sorted_labels = _sorted(labels, valid)
  memory_order, memory_labels = _sorted(memory_labels, memory_valid)
  count = tf.size(order)
  begins = tf.concat([tf.ones_like(sorted_labels[:1], tf.bool),
                      sorted_labels[1:] != sorted_labels[:-1]], axis=0)
  columns = places_of(begins)
  classes = tf.gather(sorted_labels, columns)
  columns = tf.concat([[0], columns, [count]], axis=0)
  group_of = tf.cumsum(tf.cast(begins, tf.int32))

  place_of = tf.tensor_scatter_nd_update(
      tf.fill(tf.shape(labels), -1), order[:, tf.newaxis], tf.range(count))
  place = tf.where(own_index >= 0, tf.gather(place_of, tf.maximum(own_index, 0)), -1)
  pixels = places_of(place >= 0)
  place = tf.gather(place, pixels)
  group = tf.gather(group_of, place)
  by_group = tf.argsort(group, stable=True)
  pixels, place, group = (tf.gather(x, by_group) for x in (pixels, place, group))
  rows = tf.searchsorted(group, tf.range(tf.size(columns)))

  def in_memory(side):
    return tf.concat([[0], tf.searchsorted(memory_labels, classes, side=side)], axis=0)

  return Groups(pixels, order, place, rows, columns, memory_order, in_memory('left'),
                in_memory('right'))


def places_of(chosen):
  """Where a vector is True: bool [n] -> int32 [m]."""
  return tf.cast(tf.where(chosen)[:, 0], tf.int32)


def _sorted(labels, valid):
  """Places of the valid labels, sorted by label, and these labels."""
  places = places_of(valid)
  labels = tf.gather(labels, places)
  order = tf.argsort(labels, stable=True)
  return tf.gather(places, order), tf.gather(labels, order)


def _parts(rows):
  """Cuts each group [rows[g], rows[g + 1]) into parts of at most `PART`: group, begin, end [T]."""
  counts = tf.maximum(-(-(rows[1:] - rows[:-1]) // PART), 1)
  group = tf.repeat(tf.range(tf.size(counts)), counts)
  first = tf.gather(tf.cumsum(counts, exclusive=True), group)
  begin = tf.gather(rows, group) + PART * (tf.range(tf.size(group)) - first)
  return group, begin, tf.minimum(begin + PART, tf.gather(rows, group + 1))


def _bounds(groups):
  """All that says where a part's pixels and prototypes are, so that a part reads it at once.

  Returns:
    group: int32 [T].
    bounds: int32 [T, 7]: begin and end of the part's pixels, of its class's prototypes, and of the
      remembered ones; and the place that a pixel's own prototype is masked from, which is none
      where it is the only one of its class.
  """
  group, begin, end = _parts(groups.rows)
  here, there, old_here, old_there = (tf.gather(places, group) for places in (
      groups.columns[:-1], groups.columns[1:], groups.memory_begin, groups.memory_end))
  alone = there - here + old_there - old_here <= 1
  return group, tf.stack(
      [begin, end, here, there, old_here, old_there, tf.where(alone, there, here)], axis=1)


def log_sum_exp(logits, shares, shifted=True):
  """The log of each row's sum of exp, of logits whose softmax is there already.

  Any column tells it: the logit is the log of its share and of the sum.

  Args:
    logits: float32 [n, k].
    shares: float32 [n, k], their softmax.
    shifted: False where no share is so small that it is denormal; then no column is searched for.

  Returns:
    float32 [n, 1], minus infinity where k is 0.
  """
  if not shifted:
    logits, shares = logits[:, :1], shares[:, :1]
  highest, most = (tf.reduce_max(x, axis=1, keepdims=True) for x in (logits, shares))
  return tf.where(tf.shape(logits)[1] > 0, highest - tf.math.log(most), -float('inf'))


def class_contrast(embedding, prototypes, memory, groups, concentration):
  """The supervised loss of each pixel, see `network.segsort.losses.supervised_segsort_loss`.

  What the gradient for the embedding needs is kept: two vectors a pixel. The gradient for the
  prototypes of a mean over all pixels comes along with the loss; that of any other weighting
  compares pixels and prototypes anew.

  Args:
    embedding: float32 [M, D] of unit length.
    prototypes: float32 [P, D] of unit length.
    memory: float32 [Q, D] of unit length; no gradient.
    groups: `Groups`.
    concentration: kappa, a positive float.

  Returns:
    float32 [M], 0 for pixels that do not count.
  """
  shifted = concentration > SAFE_CONCENTRATION
  group, bounds = _bounds(groups)
  remembered = concentration * tf.gather(memory, groups.memory_order)
  dim = embedding.shape[-1]

  def loop(function, total):
    """Calls function(part) -> [n, width] or None, what is added to the total; for all parts."""
    values = tf.TensorArray(tf.float32, tf.size(group), infer_shape=False,
                            element_shape=[None, 2 * dim + 1])

    def step(part, values, total):
      rows, more = function(part)
      return part + 1, values if rows is None else values.write(part, rows), total + more

    _, values, total = tf.while_loop(
        lambda part, *_: part < tf.size(group), step, [tf.constant(0), values, total],
        parallel_iterations=1)
    return values, total

  @tf.custom_gradient
  def contrast(embedding, prototypes):
    rows = tf.gather(embedding, groups.pixels)
    columns = concentration * tf.gather(prototypes, groups.order)

    def sides(part):
      """Pixels of a part [n, D], their positives and negatives [., D], which positives count.

      And where both are: begin and end of the pixels, and of the class's prototypes.
      """
      first, last, here, there, old_here, old_there, masked = tf.unstack(bounds[part])
      positive = tf.concat([columns[here:there], remembered[old_here:old_there]], axis=0)
      negative = tf.concat([columns[:here], columns[there:], remembered[:old_here],
                            remembered[old_there:]], axis=0)
      counts = masked + tf.range(tf.shape(positive)[0]) != groups.own[first:last, tf.newaxis]
      return rows[first:last], positive, negative, counts, (first, last, here, there)

    def logits(pixels, positive, negative, counts):
      return (tf.where(counts, tf.matmul(pixels, positive, transpose_b=True), _NOTHING),
              tf.matmul(pixels, negative, transpose_b=True))

    def for_prototypes(here, there, pixels, positive, negative):
      """Adds up weighted pixels, in the order of the sorted prototypes: [p, D]."""
      size = there - here
      positive = tf.matmul(positive[:, :size], pixels[0], transpose_a=True)
      negative = tf.matmul(
          negative[:, :tf.shape(columns)[0] - size], pixels[1], transpose_a=True)
      return tf.concat([negative[:here], positive, negative[here:]], axis=0)

    def forward(part):
      pixels, positive, negative, counts, (_, _, *where) = sides(part)
      p_logits, n_logits = logits(pixels, positive, negative, counts)
      p, n = tf.nn.softmax(p_logits), tf.nn.softmax(n_logits)
      # Log negatives - log positives. The log of no negatives is minus infinity: no loss.
      gap = log_sum_exp(n_logits, n, shifted) - log_sum_exp(p_logits, p)
      share = tf.sigmoid(gap)
      values = tf.concat([tf.matmul(p, positive), tf.matmul(n, negative), gap], axis=1)
      return values, for_prototypes(*where, (-share * pixels, share * pixels), p, n)

    values, total = loop(forward, tf.zeros_like(columns))
    values = values.concat()
    gap = values[:, -1:]
    share = tf.sigmoid(gap)
    where = groups.pixels[:, tf.newaxis]
    loss = tf.scatter_nd(where, tf.nn.softplus(gap[:, 0]), tf.shape(embedding)[:1])

    def gradient(upstream):
      weights = tf.gather(upstream, groups.pixels)[:, tf.newaxis]
      for_rows = weights * share * (values[:, dim:2 * dim] - values[:, :dim])

      def backward(part):
        pixels, positive, negative, counts, (begin, end, *where) = sides(part)
        shares = [tf.nn.softmax(x) for x in logits(pixels, positive, negative, counts)]
        pixels *= (weights * share)[begin:end]
        return None, for_prototypes(*where, (-pixels, pixels), *shares)

      first = tf.reduce_sum(weights[:1])
      for_columns = tf.cond(
          tf.reduce_all(weights == first), lambda: first * total,
          lambda: loop(backward, tf.zeros_like(total))[1])
      return (tf.scatter_nd(where, for_rows, tf.shape(embedding)),
              tf.scatter_nd(groups.order[:, tf.newaxis], concentration * for_columns,
                            tf.shape(prototypes)))

    return loss, gradient

  return contrast(embedding, prototypes)
