import numpy as np
import pytest
import tensorflow as tf

from network.smooseg.predictor import (
    initial_prototypes,
    log_probabilities,
    next_teacher,
    student_cosines,
    teacher_cosines,
)


def inputs(seed=0):
  random = np.random.default_rng(seed)
  return (tf.constant(random.normal(size=[2, 3, 4, 6]), tf.float32),
          tf.constant(random.normal(size=[5, 6]) * 3, tf.float32))


def test_prototypes_begin_as_directions_drawn_by_the_seed():
  values = initial_prototypes(4000, 3, seed=1)
  assert values.dtype == np.float32
  np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, rtol=1e-6)
  assert abs(values.mean(0)).max() < 0.05  # standard deviation 0.009
  np.testing.assert_allclose(values.T @ values / 4000, np.eye(3) / 3, atol=0.03)
  np.testing.assert_array_equal(values, initial_prototypes(4000, 3, seed=1))
  assert not np.array_equal(values, initial_prototypes(4000, 3, seed=2))


@pytest.mark.parametrize('cosines', [student_cosines, teacher_cosines])
def test_cosines_whatever_the_lengths(cosines):
  code, prototypes = inputs()
  a, b = (x.numpy().astype(np.float64) for x in (code, prototypes))
  a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
  np.testing.assert_allclose(cosines(code, prototypes), a @ b.T, atol=1e-6)


@pytest.mark.parametrize('cosines, reached', [(student_cosines, 1), (teacher_cosines, 0)])
def test_the_students_gradient_reaches_it_and_the_teachers_the_codes_alone(cosines, reached):
  given = inputs()
  with tf.GradientTape() as tape:
    tape.watch(given)
    loss = tf.reduce_sum(cosines(*given)[..., 0])
  gradients = tape.gradient(loss, given)
  assert gradients[1 - reached] is None
  assert np.abs(gradients[reached]).max() > 0


def test_a_zero_code_has_no_gradient():
  code, prototypes = tf.zeros([1, 1, 1, 6]), inputs()[1]
  with tf.GradientTape() as tape:
    tape.watch(code)
    loss = tf.reduce_sum(teacher_cosines(code, prototypes))
  assert float(loss) == 0 and not np.any(tape.gradient(loss, code))


def test_the_teacher_moves_by_the_student_as_it_is_and_has_no_gradient():
  teacher = tf.constant([[1.0, 0.0], [0.0, 2.0]])
  student = tf.Variable([[0.0, 10.0], [4.0, 2.0]])
  with tf.GradientTape() as tape:
    moved = next_teacher(teacher, student, 0.75)
  np.testing.assert_allclose(moved, [[0.75, 2.5], [1.0, 2.0]])
  assert tape.gradient(moved, student) is None


@pytest.mark.parametrize('scale', [2.0, 10.0])
def test_log_probabilities_are_of_the_scaled_cosines(scale):
  code, teacher = inputs()
  cosines = teacher_cosines(code, teacher).numpy().astype(np.float64)
  shares = np.exp(scale * cosines)
  shares /= shares.sum(-1, keepdims=True)
  np.testing.assert_allclose(
      log_probabilities(code, teacher, scale), np.log(shares), rtol=1e-5, atol=1e-6)


def test_of_27_orthogonal_clusters_the_best_has_22_percent_at_scale_2():
  teacher = np.eye(27)
  best = np.exp(log_probabilities(tf.constant(teacher[:1], tf.float32), teacher, 2.0)).max()
  assert best == pytest.approx(0.22, abs=0.005)
