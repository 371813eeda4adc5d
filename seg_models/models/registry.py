"""Networks by name, and the one configuration that describes them."""

import dataclasses
import functools
import zlib
from collections.abc import Callable

import keras
import numpy as np

from network.common.layers import LayerOptions
from network.contrast import projection as projections
from seg_models.models import backbones
from seg_models.models.auxiliary import auxiliary
from seg_models.models.backbones import BACKBONES
from seg_models.models.deeplab import deeplab, deeplab_v3, deeplab_v3plus
from seg_models.models.fcn import fcn
from seg_models.models.features import features as no_head
from seg_models.models.hrnet import hrnet
from seg_models.models.ocr import ocr
from seg_models.models.pspnet import pspnet


@dataclasses.dataclass(frozen=True)
class Head:
  """A head: its function, its widths on large trunks and on MobileNetV2, and its stride.

  Attributes:
    build: (features, scope, config, options) -> Keras tensor, or a dict of two, 'logits' and
      'auxiliary', where it has_auxiliary.
    dim: default of `ModelConfig.head_dim`; None for a head without a width of its own.
    mobile_dim: the same on MobileNetV2.
    stride: output stride of the result where it is not the backbone's.
    has_auxiliary: whether it makes auxiliary logits on its way, as OCR its soft regions; other
      networks get a small classifier of their own where they are asked for some.
  """
  build: Callable
  dim: int | None = None
  mobile_dim: int | None = None
  stride: int | None = None
  has_auxiliary: bool = False


HEADS = {
    'pspnet': Head(pspnet, 512, 128),
    'deeplab': Head(deeplab),
    'deeplab_v3': Head(deeplab_v3, 256, 128),
    'deeplab_v3plus': Head(deeplab_v3plus, 256, 128, stride=4),
    'fcn': Head(fcn),
    'hrnet': Head(hrnet),
    'ocr': Head(ocr, 512, 128, has_auxiliary=True),
    'features': Head(no_head),
}
# A head with a stride of its own starts from finer features on the trunk's way.
_MODELS = {f'{head}_{backbone}': (head, backbone) for head in HEADS for backbone in BACKBONES
           if HEADS[head].stride is None or backbones.has_low_level(backbone)}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """All that a network's weights depend on; every checkpoint carries its own.

  Attributes:
    name: HEAD_BACKBONE, of `HEADS` and `BACKBONES`.
    output_dim: channels of the result: of the embedding, or number of classes; None becomes 32,
      or the trunk's for the head `features`.
    output_stride: of the backbone: 8 or 16, None becomes 8; HRNet's is 4, a transformer's its
      patch.
    width: factor of the backbone's channels.
    blocks: four numbers of units (ResNets) or one (transformers); () becomes the backbone's own.
    head_dim: channels inside the head; None becomes the head's default (None for heads without).
    batch_norm_epsilon: 1e-3 in the original and in MobileNetV2, 1e-5 in TF-Slim's ResNets.
    batch_norm_decay: of the backbone's moving statistics.
    head_batch_norm_decay: of the head's.
    pool_padding: 'explicit' or 'same', see `network.common.resnet_v1` and `mobilenet_v2`.
    projection: 'linear' or 'convmlp', a projection head on the trunk's last features, see
      `network.contrast.projection`; None for none.
    projection_dim: its channels; None becomes 256 where there is one.

  Raises:
    ValueError: there is no such network, or a field does not fit it.
  """
  name: str = 'pspnet_resnet101'
  output_dim: int | None = None
  output_stride: int | None = None
  width: float = 1.0
  blocks: tuple[int, ...] = ()
  head_dim: int | None = None
  batch_norm_epsilon: float = 1e-3
  batch_norm_decay: float = 0.9997
  head_batch_norm_decay: float = 0.99
  pool_padding: str = 'explicit'
  projection: str | None = None
  projection_dim: int | None = None

  def __post_init__(self):
    head, backbone = self.parts()
    strides = backbones.strides(backbone)
    if self.output_stride is None:
      # The configuration is explicit once made: a stored one does not depend on later defaults.
      object.__setattr__(self, 'output_stride', strides[0])
    elif self.output_stride not in strides:
      raise ValueError(f'--output_stride {self.output_stride}: that of {backbone} is '
                       f'{" or ".join(map(str, strides))}')
    if self.pool_padding not in ('explicit', 'same'):
      raise ValueError(f"pool_padding {self.pool_padding!r}: 'explicit' or 'same'")
    if self.width <= 0:
      raise ValueError(f'{self.name}: width {self.width} must be positive')
    of_trunk = backbones.output_channels(backbone, self.width) if head == 'features' else None
    if self.output_dim is None:
      object.__setattr__(self, 'output_dim', of_trunk or 32)
    elif of_trunk and self.output_dim != of_trunk:
      raise ValueError(f'{self.name} has the {of_trunk} channels of its trunk, not '
                       f'{self.output_dim}: leave --embedding_dim out')
    elif self.output_dim < 1:
      raise ValueError(f'{self.name}: output_dim {self.output_dim} must be positive')
    object.__setattr__(self, 'blocks', backbones.blocks_of(backbone, self.blocks))
    mobile = backbone == 'mobilenet_v2'
    default = HEADS[head].mobile_dim if mobile else HEADS[head].dim
    if self.head_dim is None:
      object.__setattr__(self, 'head_dim', default)
    elif default is None:
      raise ValueError(f'--head_dim {self.head_dim}: the head {head} has no width; leave it out')
    elif self.head_dim < 1:
      raise ValueError(f'--head_dim {self.head_dim}: must be positive')
    if self.projection is None:
      if self.projection_dim is not None:
        raise ValueError(f'--projection_dim {self.projection_dim}: there is no --projection')
    elif self.projection not in projections.KINDS:
      raise ValueError(
          f'--projection {self.projection}: one of {", ".join(projections.KINDS)}')
    elif self.projection_dim is None:
      object.__setattr__(self, 'projection_dim', 256)
    elif self.projection_dim < 1:
      raise ValueError(f'--projection_dim {self.projection_dim}: must be positive')

  def parts(self):
    """(head, backbone), keys of `HEADS` and `BACKBONES`."""
    if self.name not in _MODELS:
      raise ValueError(f'--model {self.name}: unknown; there are {", ".join(_MODELS)}')
    return _MODELS[self.name]


def output_stride_of(config, output='logits'):
  """Image pixels per cell of one of the network's outputs: its head's own, or the backbone's."""
  head, _ = config.parts()
  return output == 'logits' and HEADS[head].stride or config.output_stride


def build_model(config, *, outputs='logits', synchronized=False, use_global_status=False,
                precision='float32', seed=0):
  """Builds and initialises a network, with the heads of the outputs that are asked for and no more.

  Kernels are drawn from a normal distribution of variance 2 / fan-in (He et al., ICCV 2015) by a
  generator of their own, seeded by the variable's name and `seed`: a variable's value depends
  neither on the order of building nor on what else the network has. Biases are 0. The deviation of
  a transformer's CLS token and position embedding is 0.02 (Dosovitskiy et al., ICLR 2021).

  Args:
    config: `ModelConfig`.
    outputs: 'logits', what the configured head gives (an embedding with some methods),
      'projection' or 'auxiliary', further logits for a loss in training (of OCR, its soft regions);
      or a tuple of such names, for which the network returns a dict.
    synchronized: batch norm over the joined batch of all replicas.
    use_global_status: freeze batch norm, its statistics, gamma and beta.
    precision: dtype policy of the convolutions: 'float32', 'mixed_bfloat16' or 'mixed_float16';
      variables and statistics are float32 in each.
    seed: int >= 0.

  Returns:
    keras.Model: float32 [B, H, W, 3] RGB minus `network.common.preprocessing.MEAN_RGB` -> float32
    [B, ceil(H / s), ceil(W / s), D], s = output_stride_of(config, output); D is config.output_dim,
    of the projection config.projection_dim.

  Raises:
    ValueError: the configuration has no such output.

  Deviates from the original: it leaves kernels and biases to TF1's default, Glorot's uniform
  distribution.
  """
  head, backbone = config.parts()
  scope = BACKBONES[backbone]
  common = {'epsilon': config.batch_norm_epsilon, 'synchronized': synchronized,
            'frozen': use_global_status, 'dtype': precision}
  trunk = LayerOptions(decay=config.batch_norm_decay, **common)
  images = keras.Input([None, None, 3], dtype='float32', name='images')
  features = backbones.trunk(images, backbone, config, trunk)
  head_options = LayerOptions(decay=config.head_batch_norm_decay, **common)

  @functools.cache
  def head_outputs():
    made = HEADS[head].build(features, scope, config, head_options)
    return made if isinstance(made, dict) else {'logits': made}

  builders = {'logits': lambda: head_outputs()['logits']}
  if HEADS[head].has_auxiliary:
    builders['auxiliary'] = lambda: head_outputs()['auxiliary']
  else:
    builders['auxiliary'] = lambda: auxiliary(features, scope, config, head_options)
  if config.projection:
    builders['projection'] = lambda: projections.projection(
        features['output'], config.projection, config.projection_dim,
        f'{scope}.block5.projection_head', head_options)
  wanted = (outputs,) if isinstance(outputs, str) else outputs
  for name in wanted:
    if name not in builders:
      raise ValueError(f'{config.name} has no output {name}, only {", ".join(builders)}')
  built = {
      name: keras.layers.Activation('linear', dtype='float32', name=name)(builders[name]())
      for name in wanted}
  model = keras.Model(
      images, built[outputs] if isinstance(outputs, str) else built, name=config.name)
  _name_by_place(model, wanted)
  for name, variable in variable_names(model).items():
    if variable.ndim > 1:
      variable.assign(_initial_kernel(name, variable.shape, seed))
  return model


def _name_by_place(model, outputs):
  """Names what has no weights by its place: Keras counts all that the process has built.

  TensorFlow orders the terms of a sum by the names of the operations that they come from: with
  other names the same step rounds differently, and a resumed run goes another way.
  """
  for place, layer in enumerate(model.layers[1:], 1):
    if not layer.weights and layer.name not in outputs:
      layer.name = f'{type(layer).__name__}.{place}'


def _initial_kernel(name, shape, seed):
  # A depthwise kernel is [height, width, channels, 1]: each channel sees itself only.
  fan_in = np.prod(shape[:2] if 'depthwise' in name else shape[:-1])
  embedding = name.endswith(('/cls_token', '/pos_embed'))
  random = np.random.default_rng([zlib.crc32(name.encode()), seed])
  scale = 0.02 if embedding else np.sqrt(2 / fan_in)
  return random.normal(size=shape, scale=scale).astype(np.float32)


def variable_names(model):
  """All variables of a network, trainable or not, by their canonical (the original's) names.

  Keras allows no '/' in the names of layers: 'resnet_v1_101.conv1/kernel' there is
  'resnet_v1_101/conv1/weights' here.
  """
  names = {}
  for variable in model.variables:
    layer, _, kind = variable.path.rpartition('/')
    kind = {'kernel': 'weights', 'bias': 'biases'}.get(kind, kind)
    names[f'{layer.replace(".", "/")}/{kind}'] = variable
  return names


def is_head(name):
  """Whether a canonical variable name is of the head, which learns ten times as fast."""
  return '/block5/' in name or '/fc1_c' in name
