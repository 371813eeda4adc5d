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
# Up to this concentration, exp(concentration * cosine) of unit vectors and the sums of it over any
# number of prototypes are normal numbers.
SAFE_CONCENTRATION = 40.0
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


def with_ones(x):
  """[p, D] -> [p, D + 1]: products with it give weighted sums and the sums of the weights."""
  return tf.pad(x, [[0, 0], [0, 1]], constant_values=1.0)


def shifted_exp(logits, shifted):
  """exp(logits - highest [n, 1]), and the highest of each row; 0 without `shifted`."""
  if not shifted:
    return tf.exp(logits), tf.zeros([tf.shape(logits)[0], 1])
  highest = tf.maximum(tf.reduce_max(logits, axis=1, keepdims=True), _NOTHING)
  return tf.exp(logits - highest), highest


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
  group, begin, end = _parts(groups.rows)
  remembered = concentration * tf.gather(memory, groups.memory_order)
  dim = embedding.shape[-1]

  def loop(function, total):
    """Calls function(part) -> [n, width] or None, what is added to the total; for all parts."""
    values = tf.TensorArray(tf.float32, tf.size(group), infer_shape=False,
                            element_shape=[None, 2 * dim + 4])

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

    def sides(part, with_memory):
      """Pixels of a part [n, D], their positives and negatives [., D], which positives count."""
      g = group[part]
      here, there = groups.columns[g], groups.columns[g + 1]
      old_here, old_there = groups.memory_begin[g], groups.memory_end[g]
      positive, negative = [columns[here:there]], [columns[:here], columns[there:]]
      if with_memory:
        positive.append(remembered[old_here:old_there])
        negative += [remembered[:old_here], remembered[old_there:]]
      positive, negative = tf.concat(positive, axis=0), tf.concat(negative, axis=0)
      own = groups.own[begin[part]:end[part]]
      alone = there - here + old_there - old_here <= 1
      counts = alone | (here + tf.range(tf.shape(positive)[0]) != own[:, tf.newaxis])
      return rows[begin[part]:end[part]], positive, negative, counts

    def logits(pixels, positive, negative, counts):
      return (tf.where(counts, tf.matmul(pixels, positive, transpose_b=True), _NOTHING),
              tf.matmul(pixels, negative, transpose_b=True))

    def for_prototypes(part, pixels, positive, negative):
      """Adds up weighted pixels, in the order of the sorted prototypes: [p, D]."""
      here = groups.columns[group[part]]
      size = groups.columns[group[part] + 1] - here
      positive = tf.matmul(positive[:, :size], pixels[0], transpose_a=True)
      negative = tf.matmul(
          negative[:, :tf.shape(columns)[0] - size], pixels[1], transpose_a=True)
      return tf.concat([negative[:here], positive, negative[here:]], axis=0)

    def forward(part):
      pixels, positive, negative, counts = sides(part, with_memory=True)
      (p, p_highest), (n, n_highest) = (
          shifted_exp(values, shifted) for values in logits(pixels, positive, negative, counts))
      p_sums, n_sums = tf.matmul(p, with_ones(positive)), tf.matmul(n, with_ones(negative))
      values = tf.concat([p_sums, n_sums, p_highest, n_highest], axis=1)
      p_scale, n_scale = scales(values)[1]
      more = for_prototypes(part, (p_scale * pixels, n_scale * pixels), p, n)
      return values, more

    def scales(values):
      """The gap, log negatives - log positives [n, 1], and what exps weigh in its gradient."""
      p_sum, n_sum = values[:, dim:dim + 1], values[:, 2 * dim + 1:2 * dim + 2]
      p_highest, n_highest = values[:, -2:-1], values[:, -1:]
      # The log of no negatives is minus infinity, which gives no loss.
      gap = (n_highest + tf.math.log(n_sum)) - (p_highest + tf.math.log(p_sum))
      share = tf.sigmoid(gap)
      return gap, (tf.math.divide_no_nan(-share, p_sum), tf.math.divide_no_nan(share, n_sum))

    values, total = loop(forward, tf.zeros_like(columns))
    values = values.concat()
    gap, (p_scale, n_scale) = scales(values)
    where = groups.pixels[:, tf.newaxis]
    loss = tf.scatter_nd(where, tf.nn.softplus(gap[:, 0]), tf.shape(embedding)[:1])

    def gradient(upstream):
      weights = tf.gather(upstream, groups.pixels)[:, tf.newaxis]
      for_rows = weights * (
          p_scale * values[:, :dim] + n_scale * values[:, dim + 1:2 * dim + 1])

      def backward(part):
        pixels, positive, negative, counts = sides(part, with_memory=False)
        p, n = logits(pixels, positive, negative, counts)
        here, there = begin[part], end[part]
        p, n = tf.exp(p - values[here:there, -2:-1]), tf.exp(n - values[here:there, -1:])
        pixels *= weights[here:there]
        return None, for_prototypes(
            part, (p_scale[here:there] * pixels, n_scale[here:there] * pixels), p, n)

      first = tf.reduce_sum(weights[:1])
      for_columns = tf.cond(
          tf.reduce_all(weights == first), lambda: first * total,
          lambda: loop(backward, tf.zeros_like(total))[1])
      return (tf.scatter_nd(where, for_rows, tf.shape(embedding)),
              tf.scatter_nd(groups.order[:, tf.newaxis], concentration * for_columns,
                            tf.shape(prototypes)))

    return loss, gradient

  return contrast(embedding, prototypes)
