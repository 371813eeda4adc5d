"""SmooSeg's losses: labels are to be smooth where features are close, and prototypes to fit them.

Source: Lan et al., "SmooSeg: Smoothness Prior for Unsupervised Semantic Segmentation", NeurIPS
2023; specs/smooseg.md, section 2.

The smoothness of an image pair is the mean over all pairs of pixels p, q of

  (W_pq - b) * d_pq,  W_pq = f_p . g_q - mean_q(f_p . g_q) + m,  d_pq = 1 - u_p . v_q

with f, g unit features, u, v soft labels of unit length, and m the mean of f_p . g_q over the whole
batch. Nothing in it is clamped, so it is a sum of products, and the sums over p and q part: with
S = cov(f, u), T = cov(g, v) (channels x classes) and bars for means over pixels, it is

  (m - b) * (1 - u_bar . v_bar) - <S, T> - f_bar . T u_bar

to the last digit: N * C * K operations where the pairs have N * N * (C + K), and N * N numbers are
never held. `closeness` and `label_distance` are W and d themselves, to look at.
"""

from typing import NamedTuple

import tensorflow as tf

from network.segsort.prototypes import l2_normalize


class Summary(NamedTuple):
  """What smoothness takes of each image: moments over its pixels.

  covariance: float32 [B, C, K] of unit features and unit labels; the gradient reaches the labels.
  features: float32 [B, C], mean of the unit features; no gradient.
  labels: float32 [B, K], mean of the unit labels; with gradient.
  """
  covariance: tf.Tensor
  features: tf.Tensor
  labels: tf.Tensor


class Smoothness(NamedTuple):
  """The smoothness of image pairs, float32 scalars.

  loss: may be negative; carries the gradient.
  closeness: mean of W, which is that of the features' cosines; in [-1, 1]; no gradient.
  distance: mean of d; in [0, 1]; no gradient.
  """
  loss: tf.Tensor
  closeness: tf.Tensor
  distance: tf.Tensor


def unit_labels(teacher_cosines, temperature):
  """Soft labels: softmax(cosines / temperature), scaled to unit length; float32 [..., K] >= 0."""
  return l2_normalize(tf.nn.softmax(tf.cast(teacher_cosines, tf.float32) / temperature))


def summarize(features, labels):
  """Sums up images for `smoothness`.

  Args:
    features: float [B, h, w, C], of any length; those that the backbone gives, as a rule with
      dropped channels. No gradient.
    labels: float32 [B, h, w, K] of unit length (`unit_labels`), with gradient.

  Returns:
    `Summary`.
  """
  features = l2_normalize(_pixels(tf.stop_gradient(features)))
  labels = _pixels(labels)
  mean_features = tf.reduce_mean(features, axis=1)
  mean_labels = tf.reduce_mean(labels, axis=1)
  # Centred before they are multiplied: both means are large beside what differs among pixels.
  covariance = tf.matmul(
      features - mean_features[:, tf.newaxis], labels - mean_labels[:, tf.newaxis],
      transpose_a=True) / tf.cast(tf.shape(features)[1], tf.float32)
  return Summary(covariance, mean_features, mean_labels)


def smoothness(first, second, threshold, pointwise=True):
  """The mean of (W - threshold) * d over all pixel pairs of all image pairs.

  Args:
    first: `Summary` of B images, the p.
    second: `Summary` of their partners, the q; `first` itself for the term within images.
    threshold: b. Closer features draw labels together, others push them apart.
    pointwise: whether each row of W is centred (its mean over q is then the batch's); otherwise W
      is the cosines as they are.

  Returns:
    `Smoothness`. The gradient flows through the labels of both images.
  """
  closeness = tf.reduce_mean(tf.reduce_sum(first.features * second.features, axis=-1))
  distance = 1.0 - tf.reduce_mean(tf.reduce_sum(first.labels * second.labels, axis=-1))
  # The mean of W_pq * (u_p . v_q), less m * (u_bar . v_bar) if W is centred.
  joint = tf.reduce_sum(first.covariance * second.covariance, axis=[1, 2])
  joint += tf.einsum('bc,bck,bk->b', first.features, second.covariance, first.labels)
  if pointwise:
    loss = (closeness - threshold) * distance - tf.reduce_mean(joint)
  else:
    joint += tf.einsum('bc,bck,bk->b', second.features, first.covariance, second.labels)
    joint += (tf.reduce_sum(first.features * second.features, axis=-1)
              * tf.reduce_sum(first.labels * second.labels, axis=-1))
    loss = closeness - tf.reduce_mean(joint) - threshold * distance
  return Smoothness(loss, tf.stop_gradient(closeness), tf.stop_gradient(distance))


def gather_summary(summary, index):
  """The `Summary` of the images `index` int32 [B]; the gradient reaches the images chosen."""
  return Summary(*(tf.gather(values, index) for values in summary))


def data_loss(student_cosines, teacher_cosines):
  """Cross-entropy of the student's cosines with the teacher's choice.

  Args:
    student_cosines: float32 [..., K], the logits, without temperature: for K classes the loss stays
      above log(1 + (K - 1) exp(-K / (K - 1))).
    teacher_cosines: float32 [..., K]; the greatest, of equals the first, is the target. No
      gradient.

  Returns:
    float32 scalar, the mean over all pixels.
  """
  target = tf.argmax(teacher_cosines, axis=-1, output_type=tf.int32)
  return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
      labels=target, logits=student_cosines))


def closeness(first, second, pointwise=True):
  """W of all pixel pairs, without gradient: N * N numbers an image pair, to look at.

  Args:
    first, second: float [B, h, w, C], of any length.
    pointwise: see `smoothness`.

  Returns:
    float32 [B, h * w, h * w], [image pair, p, q].
  """
  cosines = tf.matmul(*(l2_normalize(_pixels(tf.stop_gradient(x))) for x in (first, second)),
                      transpose_b=True)
  if not pointwise:
    return cosines
  return cosines - tf.reduce_mean(cosines, axis=2, keepdims=True) + tf.reduce_mean(cosines)


def label_distance(first, second):
  """d of all pixel pairs: 1 - cosine, in [0, 1].

  Args:
    first, second: float32 [B, h, w, K] of unit length (`unit_labels`).

  Returns:
    float32 [B, h * w, h * w], [image pair, p, q].
  """
  return 1.0 - tf.matmul(_pixels(first), _pixels(second), transpose_b=True)


def _pixels(x):
  """[B, h, w, C] -> [B, h * w, C]."""
  shape = tf.shape(x)
  return tf.reshape(x, [shape[0], shape[1] * shape[2], x.shape[-1]])
