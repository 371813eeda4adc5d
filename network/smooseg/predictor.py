"""SmooSeg's prototypes: a student that follows the codes and a teacher that follows the student.

Source: specs/smooseg.md, section 1.3.
"""

import zlib

import numpy as np
import tensorflow as tf

from network.stego.probes import cluster_log_probs, cluster_similarities


def initial_prototypes(count, dim, seed):
  """Directions spread evenly over the sphere: float32 [count, dim] of unit length.

  Args:
    count: K >= 1.
    dim: D >= 1.
    seed: int >= 0. The student and the teacher begin the same.
  """
  random = np.random.default_rng([zlib.crc32(b'prototypes'), seed])
  values = random.standard_normal([count, dim])
  return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def student_cosines(code, student):
  """`cluster_similarities` whose gradient reaches the student alone."""
  return cluster_similarities(tf.stop_gradient(code), student)


def teacher_cosines(code, teacher):
  """`cluster_similarities` whose gradient reaches the codes alone."""
  return cluster_similarities(code, tf.stop_gradient(teacher))


def next_teacher(teacher, student, momentum):
  """The teacher, moved a little towards the student: momentum * T + (1 - momentum) * S.

  Both are as they are, not scaled to unit length: the teacher shrinks, which does nothing, for only
  its directions are used. No gradient.
  """
  return momentum * teacher + (1.0 - momentum) * tf.stop_gradient(student)


def log_probabilities(code, teacher, scale):
  """log softmax(scale * cosine with the teacher's prototypes), float32 [..., K].

  The original's scale is 2, where it trains with 10: of 27 orthogonal clusters the best gets 22 %,
  and a CRF that is handed these decides much by its pairwise terms.
  """
  return cluster_log_probs(code, tf.stop_gradient(teacher), scale)
