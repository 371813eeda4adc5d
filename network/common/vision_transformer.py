"""The vision transformers of DINO and DINOv2, with the names of their public files' parameters.

Source: Dosovitskiy et al., ICLR 2021; Caron et al., ICCV 2021 (DINO); Oquab et al., 2023 (DINOv2);
specs/stego.md, section 1.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from network.common.position_embedding import resample_positions
from network.common.preprocessing import MEAN_RGB

EPSILON = 1e-6  # of the layer norms
# ImageNet's colours in 0..1, by which the networks were trained on normalised images.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])


@dataclasses.dataclass(frozen=True)
class Shape:
  """What tells one vision transformer from another.

  Attributes:
    patch: side of a patch in pixels, the output stride.
    channels: of a token; a multiple of `heads`.
    depth: number of blocks.
    heads: of each block's attention.
    grid: side of the grid of patches that the position embedding was trained with.
    layer_scale: whether each residual is multiplied by a learned factor a channel (DINOv2).
  """
  patch: int
  channels: int
  depth: int = 12
  heads: int = 6
  grid: int = 28
  layer_scale: bool = False

  def __post_init__(self):
    if self.channels % self.heads:
      raise ValueError(f'{self.channels} channels cannot be shared by {self.heads} heads')


SHAPES = {
    'dino_vits8': Shape(8, 384), 'dino_vits16': Shape(16, 384, grid=14),
    'dino_vitb8': Shape(8, 768, heads=12), 'dino_vitb16': Shape(16, 768, heads=12, grid=14),
    'dinov2_vits14': Shape(14, 384, grid=37, layer_scale=True),
    'dinov2_vitb14': Shape(14, 768, heads=12, grid=37, layer_scale=True)}


def scaled(name, width=1.0, depth=None):
  """The shape of one of `SHAPES` with other channels (the heads stay, each narrower) or depth."""
  shape = SHAPES[name]
  channels = shape.heads * max(1, round(width * shape.channels / shape.heads))
  return dataclasses.replace(shape, channels=channels, depth=depth or shape.depth)


def _dense(units, name, dtype):
  return keras.layers.Dense(units, name=name, dtype=dtype)


def _norm(name):
  return keras.layers.LayerNormalization(epsilon=EPSILON, name=name, dtype='float32')


class Tokens(keras.layers.Layer):
  """Images to tokens: the patches' embeddings row by row, the CLS token first, plus positions.

  Call: float32 [B, H, W, 3], RGB minus `MEAN_RGB` -> float32 [B, 1 + h * w, C], h = ceil(H / p).
  What the last patches lack at the bottom and on the right is padded with the mean colour.
  """

  def __init__(self, shape, **kwargs):
    super().__init__(autocast=False, **kwargs)
    self.shape = shape
    self.project = keras.layers.Conv2D(
        shape.channels, shape.patch, strides=shape.patch, name='patch_embed.proj',
        dtype=self.dtype_policy)

  def build(self, input_shape):
    channels = self.shape.channels
    # Layers of a half precision policy see variables rounded to it, where these say no otherwise.
    self.cls_token = self.add_weight(shape=[1, channels], name='cls_token', autocast=False)
    self.positions = self.add_weight(
        shape=[1 + self.shape.grid ** 2, channels], name='pos_embed', autocast=False)
    self.project.build(input_shape)

  def call(self, images):
    patch = self.shape.patch
    height, width = _sizes(images)
    images = tf.pad(images, [[0, 0], [0, -height % patch], [0, -width % patch], [0, 0]])
    scale = 1 / (255 * IMAGENET_DEVIATION)
    shift = (MEAN_RGB - 255 * IMAGENET_MEAN) * scale
    x = self.project(tf.cast(images * scale.astype(np.float32) + shift.astype(np.float32),
                             self.compute_dtype))
    rows, columns = _sizes(x)
    batch, channels = tf.shape(x)[0], self.shape.channels
    x = tf.cast(tf.reshape(x, [batch, rows * columns, channels]), tf.float32)
    cls_token = tf.broadcast_to(tf.convert_to_tensor(self.cls_token), [batch, 1, channels])
    x = tf.concat([cls_token, x], axis=1)
    return x + resample_positions(tf.convert_to_tensor(self.positions), rows, columns)

  def compute_output_spec(self, images):
    sides = [side and -(-side // self.shape.patch) for side in images.shape[1:3]]
    count = None if None in sides else 1 + sides[0] * sides[1]
    return keras.KerasTensor([images.shape[0], count, self.shape.channels], dtype='float32')


class LayerScale(keras.layers.Layer):
  """x times a learned factor for each channel."""

  def build(self, input_shape):
    self.gamma = self.add_weight(shape=[input_shape[-1]], initializer='ones', name='gamma')

  def call(self, x):
    return x * tf.cast(self.gamma, x.dtype)


class Block(keras.layers.Layer):
  """x += ls1(proj(attention(norm1 x))), then x += ls2(fc2(gelu(fc1(norm2 x)))).

  The tokens, layer norms and the attention's softmax are float32; products are of the layer's
  compute dtype.

  Call: float32 [B, N, C] -> dict of 'tokens' of that shape, 'keys' [B, N, C] (head by head) and
  'attention' [B, heads, N, N], float32 as well.
  """

  def __init__(self, shape, **kwargs):
    super().__init__(autocast=False, **kwargs)
    self.shape = shape
    channels, dtype = shape.channels, self.dtype_policy
    self.norm1, self.norm2 = _norm('norm1'), _norm('norm2')
    self.qkv = _dense(3 * channels, 'attn.qkv', dtype)
    self.proj = _dense(channels, 'attn.proj', dtype)
    self.fc1 = _dense(4 * channels, 'mlp.fc1', dtype)
    self.fc2 = _dense(channels, 'mlp.fc2', dtype)
    self.scales = [LayerScale(name=name, dtype='float32') for name in ('ls1', 'ls2')
                   ] if shape.layer_scale else []

  def build(self, input_shape):
    for layer in (self.norm1, self.norm2, self.qkv, self.proj, self.fc1, *self.scales):
      layer.build(input_shape)
    self.fc2.build([*input_shape[:-1], 4 * self.shape.channels])

  def call(self, x):
    scale1, scale2 = self.scales or (tf.identity, tf.identity)
    attended, keys, attention = self._attention(tf.cast(self.norm1(x), self.compute_dtype))
    x = x + scale1(tf.cast(self.proj(attended), tf.float32))
    hidden = keras.activations.gelu(
        self.fc1(tf.cast(self.norm2(x), self.compute_dtype)), approximate=False)
    x = x + scale2(tf.cast(self.fc2(hidden), tf.float32))
    return {'tokens': x, 'keys': tf.cast(keys, tf.float32), 'attention': attention}

  def _attention(self, x):
    heads, channels = self.shape.heads, self.shape.channels
    batch, count = tf.shape(x)[0], x.shape[1] or tf.shape(x)[1]
    parts = tf.reshape(self.qkv(x), [batch, count, 3, heads, channels // heads])
    queries, keys, values = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))
    logits = tf.matmul(queries * (channels // heads) ** -0.5, keys, transpose_b=True)
    attention = tf.nn.softmax(tf.cast(logits, tf.float32))
    attended = tf.matmul(tf.cast(attention, x.dtype), values)

    def joined(value):
      return tf.reshape(tf.transpose(value, [0, 2, 1, 3]), [batch, count, channels])
    return joined(attended), joined(keys), attention

  def compute_output_spec(self, x):
    batch, count, _ = x.shape
    shapes = {'tokens': x.shape, 'keys': x.shape,
              'attention': [batch, self.shape.heads, count, count]}
    return {name: keras.KerasTensor(shape, dtype='float32') for name, shape in shapes.items()}


class PatchMap(keras.layers.Layer):
  """Tokens [B, 1 + h * w, C] as a map [B, h, w, C], without CLS; the images tell the sizes."""

  def __init__(self, patch, **kwargs):
    super().__init__(**kwargs)
    self.patch = patch

  def call(self, inputs):
    tokens, images = inputs
    height, width = (-(-side // self.patch) for side in _sizes(images))
    return tf.reshape(tokens[:, 1:], [tf.shape(tokens)[0], height, width, tokens.shape[-1]])

  def compute_output_spec(self, inputs):
    tokens, images = inputs
    sides = [side and -(-side // self.patch) for side in images.shape[1:3]]
    return keras.KerasTensor(
        [tokens.shape[0], *sides, tokens.shape[-1]], dtype=self.compute_dtype)


def vision_transformer(images, scope, shape, options):
  """Builds the trunk.

  Args:
    images: Keras tensor [B, H, W, 3], RGB minus `MEAN_RGB`, of any size; ImageNet's normalisation,
      which the public weights were trained with, happens here.
    scope: of the layers' names: `<scope>.blocks.0`, `<scope>.norm`.
    shape: `Shape`.
    options: `layers.LayerOptions`, of which only the dtype matters.

  Returns:
    dict of Keras tensors. 'output': the last block's tokens behind the final layer norm, without
    CLS, [B, ceil(H / p), ceil(W / p), C]; 'auxiliary': the same of the block at two thirds of the
    depth, without the norm; 'keys': the last block's keys, likewise, each head's channels together;
    'embedded', 'tokens' [B, 1 + h * w, C]: what enters the first block, and the final layer norm's
    result; 'attention' [B, heads, 1 + h * w, 1 + h * w]: of the last block. Cell (y, x) is of the
    pixels from (p y, p x) on: its centre lies on pixel p y + (p - 1) / 2.

  Deviates from the original: its sizes must be multiples of the patch, and its keys are those of
  six heads whatever the network (specs/stego.md, section 7b, B5).
  """
  def spatial(tokens):
    return PatchMap(shape.patch, dtype='float32')([tokens, images])

  x = embedded = Tokens(shape, name=scope, dtype=options.dtype)(images)
  for index in range(shape.depth):
    block = Block(shape, name=f'{scope}.blocks.{index}', dtype=options.dtype)(x)
    x = block['tokens']
    if index + 1 == -(-2 * shape.depth // 3):
      auxiliary = spatial(x)
  tokens = _norm(f'{scope}.norm')(x)
  return {'output': spatial(tokens), 'auxiliary': auxiliary, 'keys': spatial(block['keys']),
          'embedded': embedded, 'tokens': tokens, 'attention': block['attention']}


def _sizes(x):
  """Height and width of [B, H, W, C], as ints where they are known."""
  shape = tf.shape(x)
  return [x.shape[axis] or shape[axis] for axis in (1, 2)]
