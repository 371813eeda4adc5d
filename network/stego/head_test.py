import numpy as np
import pytest
import tensorflow as tf

from network.stego.head import SegmentationHead, uniform_initializer


def features(channels=6):
  return np.random.default_rng(0).normal(size=[2, 3, 4, channels]).astype(np.float32)


def weights(head):
  return {variable.path: variable.numpy() for variable in head.variables}


def test_the_code_equals_the_oracle():
  head = SegmentationHead(6, 5)
  x, dropped = features(), features() * [1, 0, 1.25, 1, 0, 2]
  w = weights(head)
  assert set(w) == {f'{name}/{kind}' for name in ('linear', 'hidden', 'last')
                    for kind in ('kernel', 'bias')}

  def oracle(x, dropped):
    hidden = np.maximum(dropped @ w['hidden/kernel'] + w['hidden/bias'], 0)
    return (x @ w['linear/kernel'] + w['linear/bias']
            + hidden @ w['last/kernel'] + w['last/bias'])
  code = head(x)
  assert code.dtype == 'float32' and code.shape == (2, 3, 4, 5)
  np.testing.assert_allclose(code, oracle(x, x), atol=1e-5)
  np.testing.assert_allclose(head(x, dropped), oracle(x, dropped), atol=1e-5)


def test_a_linear_head_is_the_first_term():
  linear, both = SegmentationHead(6, 5, 'linear'), SegmentationHead(6, 5)
  assert set(weights(linear)) == {'linear/kernel', 'linear/bias'}
  both.last.kernel.assign(tf.zeros([6, 5]))
  both.last.bias.assign(tf.zeros([5]))
  np.testing.assert_allclose(linear(features()), both(features()), atol=1e-6)


def test_without_a_projection_the_code_is_the_features():
  head = SegmentationHead(6, 6, 'none')
  assert not head.variables
  np.testing.assert_array_equal(head(features()), features())


def test_wrong_heads_are_refused():
  with pytest.raises(ValueError, match='5 channels with --projection none.* 6'):
    SegmentationHead(6, 5, 'none')
  with pytest.raises(ValueError, match='--projection quadratic: one of nonlinear, linear, none'):
    SegmentationHead(6, 5, 'quadratic')


def test_initial_weights_are_uniform_of_the_inputs_channels():
  for path, value in weights(SegmentationHead(100, 60, seed=1)).items():
    assert abs(value).max() <= 0.1
    if value.size > 1000:
      assert abs(value).max() > 0.0999 and abs(value.std() - 0.2 / np.sqrt(12)) < 0.002, path
      assert abs(value.mean()) < 0.002
    assert value.std() > 0.04, path


def test_initial_weights_depend_on_names_and_seed_alone():
  one, same, other = (SegmentationHead(6, 5, seed=seed) for seed in (1, 1, 2))
  for path, value in weights(one).items():
    np.testing.assert_array_equal(weights(same)[path], value)
    assert (weights(other)[path] != value).all()
  np.testing.assert_array_equal(
      weights(SegmentationHead(6, 5, 'linear', seed=1))['linear/bias'], weights(one)['linear/bias'])
  kernel = uniform_initializer('a', 9, 0)['kernel_initializer']([3, 3])
  assert not np.any(kernel == uniform_initializer('b', 9, 0)['kernel_initializer']([3, 3]))


def test_the_published_size():
  """70 channels from ViT-S: 384*70+70 twice, and 384*384+384."""
  assert sum(value.size for value in weights(SegmentationHead(384, 70)).values()) == 201740
