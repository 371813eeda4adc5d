import pytest
import tensorflow as tf

from network.segsort.compilation import compiled_where_static, inside_xla


@pytest.mark.parametrize('jit_compile', [False, True])
def test_everything_within_a_compiled_function_is_inside_and_nothing_else(jit_compile):
  seen = []

  @tf.custom_gradient
  def double(x):
    seen.append(inside_xla())

    def gradient(upstream):
      seen.append(inside_xla())
      return 2.0 * upstream
    return 2.0 * x, gradient

  def step(index, x):
    seen.append(inside_xla())
    return index + 1, double(x)

  @tf.function(jit_compile=jit_compile)
  def inner(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = double(x)
    return tape.gradient(y, x) + tf.while_loop(lambda index, _: index < 3, step, [0, x])[1]

  tf.function(lambda x: inner(x) + 1.0)(tf.constant(1.0))
  assert len(seen) >= 4 and set(seen) == {jit_compile}
  assert not inside_xla()


def test_what_a_compiled_function_calls_is_inside():
  seen = []
  inner = tf.function(lambda x: seen.append(inside_xla()) or x + 1.0)
  tf.function(inner, jit_compile=True)(tf.constant(1.0))
  assert seen == [True]


def test_replicas_know_where_they_are():
  seen = []
  strategy = tf.distribute.MirroredStrategy(
      [device.name for device in tf.config.list_logical_devices('CPU')[:2]],
      cross_device_ops=tf.distribute.ReductionToOneDevice())

  @tf.function
  def step(x):
    return strategy.run(lambda x: seen.append(inside_xla()) or x + 1.0, args=(x,))

  step(tf.constant(1.0))
  assert seen and not any(seen)


@pytest.mark.parametrize(('shape', 'compiled'), [([3], True), ([None], False), ([], False)])
def test_a_program_of_its_own_where_all_shapes_are_known(shape, compiled):
  seen = []

  @compiled_where_static
  def times(x, factor):
    seen.append(inside_xla())
    return factor * x * x

  @tf.function(input_signature=[tf.TensorSpec(shape)])
  def gradient(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = times(x, 3)
    return tape.gradient(y, x)

  x = tf.ones([3] if shape else [])
  assert (gradient(x).numpy() == 6.0).all() and (times(x, 3).numpy() == 3.0).all()
  assert seen == [compiled, False]
