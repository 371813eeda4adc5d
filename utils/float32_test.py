import tensorflow as tf

from utils.float32 import exact_float32


def test_tf32_is_off():
  tf.config.experimental.enable_tensor_float_32_execution(True)
  exact_float32()
  assert not tf.config.experimental.tensor_float_32_execution_enabled()
