import numpy as np
import pytest
import tensorflow as tf

from utils import stablehlo
from utils.float32 import exact_float32


def make():
  """A function with a captured variable that it changes and one that it does not."""
  total, factor = tf.Variable([1.0, 2.0]), tf.Variable([[3.0, 0.0], [0.0, 4.0]])

  @tf.function(jit_compile=True)
  def add(values, mask, step):
    product = tf.matmul(values['b'], factor)
    total.assign_add(tf.reduce_sum(tf.where(mask[:, None], product, values['a']), 0))
    return {'sum': tf.reduce_sum(total), 'step': step + 1}
  return total, factor, add


ARGUMENTS = ({'a': tf.zeros([3, 2]), 'b': tf.reshape(tf.range(6.0), [3, 2])},
             tf.constant([True, False, True]), tf.constant(5))


def test_the_program_is_the_function():
  total, factor, add = make()
  text, updates = stablehlo.lower(add, *ARGUMENTS)
  arguments, results = stablehlo.signature(text)
  assert arguments[:4] == [
      ((3, 2), 'float32'), ((3, 2), 'float32'), ((3,), 'bool'), ((), 'int32')]
  assert sorted(arguments[4:]) == [((2,), 'float32'), ((2, 2), 'float32')]
  assert results == [((), 'int32'), ((), 'float32'), ((2,), 'float32')]
  place = arguments.index(((2,), 'float32'))
  assert updates == {2: place}

  captured = {(2,): total, (2, 2): factor}
  step, value, new = stablehlo.load(text)(
      *tf.nest.flatten(ARGUMENTS), *(captured[shape].read_value() for shape, _ in arguments[4:]))
  assert step.numpy() == 6
  np.testing.assert_array_equal(new, [1 + 0 + 12, 2 + 4 + 20])
  assert value.numpy() == 39
  np.testing.assert_array_equal(total, [1, 2])  # the program's state is its caller's


def test_the_text_names_no_file_of_this_machine_and_no_foreign_operation():
  text, _ = stablehlo.lower(make()[2], *ARGUMENTS)
  assert 'loc' not in text and __file__ not in text and 'mhlo' not in text


@pytest.mark.parametrize('exact', [True, False])
def test_exact_products_are_asked_for_where_tensorflow_is_exact(exact):
  before = tf.config.experimental.tensor_float_32_execution_enabled()
  exact_float32(exact)
  try:
    text, _ = stablehlo.lower(make()[2], *ARGUMENTS)
  finally:
    exact_float32(not before)
  assert ('HIGHEST' in text, 'DEFAULT' in text) == (exact, not exact)


def test_shapes_that_depend_on_data_are_refused():
  @tf.function(jit_compile=True)
  def some(x):
    return tf.reduce_sum(tf.gather(x, tf.where(x > 0)[:, 0]))
  with pytest.raises(ValueError, match='depends on data'):
    stablehlo.lower(some, tf.constant([1.0, -1.0]))
