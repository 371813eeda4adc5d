import numpy as np
import pytest
import tensorflow as tf

from network.segsort.shapes import dims, per_image


@pytest.mark.parametrize('shape, static', [
    ([2, 3, 4, 5], (2, 12, 5)), ([None, 3, 4, 5], (None, 12, 5)), ([2, None, 4, 5], (2, None, 5)),
    ([None] * 4, (None, None, None)), ([2, 3, 4], (2, 12))])
def test_sizes_are_static_where_they_can_be(shape, static):
  x = np.arange(np.prod([2, 3, 4, 5][:len(shape)])).reshape([2, 3, 4, 5][:len(shape)])
  seen = []

  @tf.function(input_signature=[tf.TensorSpec(shape, tf.int64)])
  def function(x):
    flat = per_image(x)
    seen.append((dims(x), tuple(flat.shape)))
    return flat

  np.testing.assert_array_equal(function(x), x.reshape(2, 12, *x.shape[3:]))
  (found, flat), = seen
  assert [size if isinstance(size, int) else None for size in found] == shape
  assert flat == static
