"""The transformer against NumPy: tokens, blocks with and without layer scale, sizes, precision."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import erf

from network.common import vision_transformer as vit
from network.common.layers import LayerOptions
from network.common.position_embedding import resample_positions
from network.common.preprocessing import MEAN_RGB

SMALL = vit.Shape(patch=4, channels=12, depth=2, heads=3, grid=3, layer_scale=True)


def network(shape=SMALL, dtype='float32', size=(None, None)):
  """A transformer with random values everywhere, the same ones for the same shape."""
  images = keras.Input([*size, 3])
  model = keras.Model(
      images, vit.vision_transformer(images, 'vit', shape, LayerOptions(dtype=dtype)))
  random = np.random.default_rng(0)
  for variable in model.variables:
    spread = 0.3 if variable.path.endswith('kernel') else 0.5
    variable.assign(random.normal(size=variable.shape) * spread
                    + variable.path.endswith('gamma'))
  return model


def values(model):
  return {variable.path: variable.numpy().astype(np.float64) for variable in model.variables}


def images(*size):
  return np.random.default_rng(1).uniform(-120, 130, (2, *size, 3)).astype(np.float32)


def norm(x, arrays, name):
  x = x - x.mean(axis=-1, keepdims=True)
  x = x / np.sqrt((x ** 2).mean(axis=-1, keepdims=True) + 1e-6)
  return x * arrays[f'{name}/gamma'] + arrays[f'{name}/beta']


def linear(x, arrays, name):
  return x @ arrays[f'{name}/kernel'] + arrays[f'{name}/bias']


def oracle_block(x, arrays, name, shape):
  """Tokens, keys and attention after one block, image by image and head by head."""
  tokens, all_keys, attentions = [], [], []
  width = shape.channels // shape.heads
  for image in x:
    fused = linear(norm(image, arrays, f'{name}/norm1'), arrays, f'{name}/attn.qkv')
    queries, keys, value = np.split(fused, 3, axis=1)
    heads, attention = [], []
    for head in range(shape.heads):
      part = slice(head * width, (head + 1) * width)
      logits = queries[:, part] @ keys[:, part].T / np.sqrt(width)
      weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
      attention.append(weights)
      heads.append(weights @ value[:, part])
    residual = linear(np.concatenate(heads, axis=1), arrays, f'{name}/attn.proj')
    image = image + residual * arrays.get(f'{name}/ls1/gamma', 1)
    hidden = linear(norm(image, arrays, f'{name}/norm2'), arrays, f'{name}/mlp.fc1')
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    image = image + linear(hidden, arrays, f'{name}/mlp.fc2') * arrays.get(f'{name}/ls2/gamma', 1)
    tokens.append(image)
    all_keys.append(keys)
    attentions.append(attention)
  return np.array(tokens), np.array(all_keys), np.array(attentions)


def oracle_tokens(x, arrays, shape):
  """ImageNet's normalisation, one product a patch, CLS, positions."""
  x = ((x + MEAN_RGB) / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
  rows, columns = (length // shape.patch for length in x.shape[1:3])
  patches = [np.einsum('bhwi,hwio->bo', x[:, row:row + shape.patch, column:column + shape.patch],
                       arrays['vit/patch_embed.proj/kernel'])
             + arrays['vit/patch_embed.proj/bias']
             for row in range(0, rows * shape.patch, shape.patch)
             for column in range(0, columns * shape.patch, shape.patch)]
  first = np.broadcast_to(arrays['vit/cls_token'], patches[0].shape)
  positions = resample_positions(tf.constant(arrays['vit/pos_embed']), rows, columns).numpy()
  return np.stack([first, *patches], axis=1) + positions


@pytest.mark.parametrize('layer_scale', [False, True])
def test_the_whole_is_the_papers(layer_scale):
  shape = dataclasses.replace(SMALL, layer_scale=layer_scale)
  model = network(shape)
  arrays, x = values(model), images(8, 12)
  found = model(x, training=False)
  tokens = oracle_tokens(x, arrays, shape)
  np.testing.assert_allclose(found['embedded'], tokens, atol=2e-5)
  tokens, _, _ = oracle_block(tokens, arrays, 'vit.blocks.0', shape)
  tokens, keys, attention = oracle_block(tokens, arrays, 'vit.blocks.1', shape)
  np.testing.assert_allclose(found['attention'], attention, atol=2e-5)
  # Two thirds of two blocks, rounded up, are both.
  np.testing.assert_allclose(
      found['auxiliary'], tokens[:, 1:].reshape(2, 2, 3, 12), atol=1e-4)
  tokens = norm(tokens, arrays, 'vit.norm')
  np.testing.assert_allclose(found['tokens'], tokens, atol=2e-5)
  np.testing.assert_allclose(found['output'], tokens[:, 1:].reshape(2, 2, 3, 12), atol=2e-5)
  np.testing.assert_allclose(found['keys'], keys[:, 1:].reshape(2, 2, 3, 12), atol=2e-5)


def test_auxiliary_is_the_block_at_two_thirds():
  model = network(dataclasses.replace(SMALL, depth=3))
  arrays, x = values(model), images(4, 4)
  found = model(x, training=False)
  tokens = found['embedded'].numpy().astype(np.float64)
  for index in range(2):
    tokens, _, _ = oracle_block(tokens, arrays, f'vit.blocks.{index}', SMALL)
  np.testing.assert_allclose(found['auxiliary'][:, 0, 0], tokens[:, 1], atol=1e-4)


@pytest.mark.parametrize('size', [(9, 14), (8, 12), (3, 1)])
def test_other_sizes_are_padded_with_the_mean_colour(size):
  model = network()
  x = images(*size)
  padded = np.pad(x, ((0, 0), (0, -size[0] % 4), (0, -size[1] % 4), (0, 0)))
  found = model(x, training=False)
  assert found['output'].shape == (2, -(-size[0] // 4), -(-size[1] // 4), 12)
  for name, value in model(padded, training=False).items():
    np.testing.assert_array_equal(found[name], value)


def test_sizes_known_before_or_not_and_compiled_it_is_the_same():
  x, shape = images(9, 14), dataclasses.replace(SMALL, depth=1)
  model, fixed = network(shape), network(shape, size=(9, 14))
  assert fixed.output['output'].shape == (None, 3, 4, 12)
  assert fixed.output['tokens'].shape == (None, 13, 12)
  expected = model(x, training=False)['output']
  unknown = tf.TensorSpec([None, None, None, 3])
  for one, jit_compile, spec in ((fixed, False, x), (model, True, x), (model, False, unknown)):
    call = tf.function(
        lambda x, one=one: one(x, training=False)['output'], jit_compile=jit_compile)
    found = call.get_concrete_function(spec)(tf.constant(x))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize('dtype, tolerance', [('mixed_bfloat16', 0.05), ('mixed_float16', 0.005)])
def test_half_precision_is_of_the_products_only(dtype, tolerance):
  x = images(9, 14)
  half, full = network(dtype=dtype), network()
  assert {variable.dtype for variable in half.variables} == {'float32'}
  found, expected = half(x, training=False), full(x, training=False)
  assert {value.dtype for value in found.values()} == {tf.float32}
  error = np.abs(found['output'] - expected['output']).mean() / np.abs(expected['output']).mean()
  assert 0 < error < tolerance
  np.testing.assert_allclose(np.sum(found['attention'], axis=-1), 1, atol=1e-6)
  assert half.get_layer('vit.blocks.0').qkv.compute_dtype == dtype.removeprefix('mixed_')


def test_gradients_reach_everything():
  model = network()
  with tf.GradientTape() as tape:
    value = tf.reduce_sum(model(images(8, 12), training=True)['output'][..., 0] ** 2)
  for variable, gradient in zip(
      model.trainable_variables, tape.gradient(value, model.trainable_variables), strict=True):
    assert gradient is not None and np.isfinite(gradient).all(), variable.path


def test_shapes():
  assert vit.scaled('dino_vitb8') == vit.SHAPES['dino_vitb8']
  assert vit.scaled('dino_vits16', 0.1, 2) == vit.Shape(16, 36, 2, 6, 14)
  assert vit.scaled('dino_vits8', 1e-3).channels == 6
  with pytest.raises(ValueError, match='10 channels cannot be shared by 3 heads'):
    vit.Shape(8, 10, heads=3)
