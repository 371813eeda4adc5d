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
PART = 2048
# Up to this concentration no share of a softmax over cosines of unit vectors is denormal.
SAFE_CONCENTRATION = 30.0
# Lower than every logit, and finite.
_NOTHING = -1e30


class Groups(NamedTuple):
  """Pixels and prototypes by class; the first group is empty, so that there always is one.

  pixels: int32 [n], the pixels that count, sorted by class.
  slots: int32 [M], where each pixel is among them, n for pixels that do not count.
  order: int32 [p], the prototypes that exist, sorted by label.
  own: int32 [n], the place of each sorted pixel's own prototype among the sorted ones.
  rows, columns: int32 [G + 1], where each group begins among the sorted pixels and prototypes.
  memory_order: int32 [q], the remembered prototypes that exist, sorted by label.
  memory_begin, memory_end: int32 [G], where each group is among them.
  """
  pixels: tf.Tensor
  slots: tf.Tensor
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
  counted = place >= 0
  pixels = places_of(counted)
  place = tf.gather(place, pixels)
  group = tf.gather(group_of, place)
  by_group = tf.argsort(group, stable=True)
  pixels, place, group = (tf.gather(x, by_group) for x in (pixels, place, group))
  rows = tf.searchsorted(group, tf.range(tf.size(columns)))
  # Of the pixels in their old order; the last is for those that do not count.
  slots = tf.concat([tf.math.invert_permutation(by_group), [tf.size(pixels)]], axis=0)
  slots = tf.gather(slots, tf.where(
      counted, tf.cumsum(tf.cast(counted, tf.int32)) - 1, tf.size(pixels)))

  def in_memory(side):
    return tf.concat([[0], tf.searchsorted(memory_labels, classes, side=side)], axis=0)

  return Groups(pixels, slots, order, place, rows, columns, memory_order, in_memory('left'),
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

  Slices begin and end, as `tf.slice` takes them. The prototypes of other classes are one slice of
  all prototypes twice: those behind the class's own and those before it.

  Returns:
    int32 [T, 11, 2]: begin and size of the slices of the sorted pixels, of the prototypes and the
    remembered ones of the part's class, and of those of other classes; and what is subtracted from
    the place of a pixel's own prototype for its place among its class's, which is none, beyond
    all, where it is the only one and counts.
  """
  group, begin, end = _parts(groups.rows)

  def slices(begin, size):
    return [tf.stack([begin, tf.zeros_like(begin)], axis=1),
            tf.stack([size, -tf.ones_like(size)], axis=1)]

  def of_class(begin, end, total):
    size = tf.gather(end - begin, group)
    return (slices(tf.gather(begin, group), size),
            slices(tf.gather(end, group), total - size))

  here, there = groups.columns[:-1], groups.columns[1:]
  new, other_new = of_class(here, there, tf.size(groups.order))
  old, other_old = of_class(
      groups.memory_begin, groups.memory_end, tf.size(groups.memory_order))
  alone = there - here + groups.memory_end - groups.memory_begin <= 1
  away = tf.gather(tf.where(alone, -1 - tf.size(groups.order), here), group)
  return tf.stack([*slices(begin, end - begin), *new, *old, *other_new, *other_old,
                   tf.stack([away, away], axis=1)], axis=1)


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

  The gradient for the embedding of a sum over all pixels is kept, a vector a pixel. The gradient
  for the prototypes of a mean over all pixels comes along with the loss; that of any other
  weighting compares pixels and prototypes anew.

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
  bounds = _bounds(groups)
  count, dim = tf.shape(bounds)[0], embedding.shape[-1]
  remembered = _twice(concentration * tf.gather(memory, groups.memory_order))

  def loop(function, total):
    """Calls function(part) -> [n, D + 1] or None, what is added to the total; for all parts."""
    values = tf.TensorArray(tf.float32, count + 1, infer_shape=False,
                            element_shape=[None, dim + 1])

    def step(part, values, total):
      rows, more = function(part)
      return part + 1, values if rows is None else values.write(part, rows), total + more

    _, values, total = tf.while_loop(
        lambda part, *_: part < count, step, [tf.constant(0), values, total],
        parallel_iterations=1)
    return values, total

  @tf.custom_gradient
  def contrast(embedding, prototypes):
    rows = tf.gather(embedding, groups.pixels)
    columns = _twice(concentration * tf.gather(prototypes, groups.order))

    def sides(part):
      """Pixels of a part [n, D], their positives and negatives [., D], and where all of it is."""
      places = tf.unstack(bounds[part])
      own = tf.slice(groups.own, places[0][:1], places[1][:1]) - places[10][:1]
      pixels, new, old, other_new, other_old = (
          tf.slice(x, *places[2 * i:2 * i + 2]) for i, x in enumerate(
              (rows, columns, remembered, columns, remembered)))
      positive, negative = (tf.concat(x, axis=0) for x in ((new, old), (other_new, other_old)))
      return pixels, own, positive, negative, places

    def compared(pixels, own, positive, negative):
      """Logits and shares of the positives and of the negatives, [n, .] each."""
      p_logits, n_logits = (
          tf.matmul(pixels, side, transpose_b=True) for side in (positive, negative))
      p_logits += tf.one_hot(own, tf.shape(positive)[0], on_value=_NOTHING, off_value=0.0)
      return p_logits, n_logits, tf.nn.softmax(p_logits), tf.nn.softmax(n_logits)

    def gap_of(p_logits, n_logits, p, n):
      """Log negatives - log positives. The log of no negatives is minus infinity: no loss."""
      return log_sum_exp(n_logits, n, shifted) - log_sum_exp(p_logits, p)

    def for_prototypes(places, weighted, p, n):
      """Adds up weighted pixels, in the order of the sorted prototypes: [p, D]."""
      positive, negative = (
          tf.matmul(shares[:, :where[0]], weighted, transpose_a=True)
          for shares, where in ((p, places[3]), (n, places[7])))
      # The class's own come first, and what is behind them goes around.
      return tf.roll(tf.concat([-positive, negative], axis=0), places[2], [0, 1])

    def forward(part):
      pixels, own, positive, negative, places = sides(part)
      *logits, p, n = compared(pixels, own, positive, negative)
      gap = gap_of(*logits, p, n)
      share = tf.sigmoid(gap)
      away = share * (tf.matmul(n, negative) - tf.matmul(p, positive))
      return (tf.concat([away, tf.nn.softplus(gap)], axis=1),
              for_prototypes(places, share * pixels, p, n))

    values, total = loop(forward, tf.zeros_like(columns[:tf.size(groups.order)]))
    # The last row is that of the pixels that do not count.
    values = values.write(count, tf.zeros([1, dim + 1])).concat()
    values = tf.gather(values, groups.slots)

    def gradient(upstream):
      weights = tf.gather(upstream, groups.pixels)[:, tf.newaxis]

      def backward(part):
        pixels, own, positive, negative, places = sides(part)
        *logits, p, n = compared(pixels, own, positive, negative)
        share = tf.sigmoid(gap_of(*logits, p, n))
        weighted = tf.slice(weights, *places[:2]) * share * pixels
        return None, for_prototypes(places, weighted, p, n)

      first = tf.reduce_sum(weights[:1])
      for_columns = tf.cond(
          tf.reduce_all(weights == first), lambda: first * total,
          lambda: loop(backward, tf.zeros_like(total))[1])
      return (upstream[:, tf.newaxis] * values[:, :dim],
              tf.scatter_nd(groups.order[:, tf.newaxis], concentration * for_columns,
                            tf.shape(prototypes)))

    return values[:, dim], gradient

  return contrast(embedding, prototypes)


def _twice(x):
  return tf.concat([x, x], axis=0)
