"""Networks assembled from a backbone and a head, and the one configuration that describes them."""

import dataclasses
import zlib

import keras
import numpy as np

from network.common.layers import LayerOptions
from network.common.mobilenet_v2 import mobilenet_v2
from network.common.resnet_v1 import BLOCKS, resnet_v1
from seg_models.models.pspnet import pspnet

HEADS = {'pspnet': pspnet}
SCOPES = {
    'resnet50': 'resnet_v1_50', 'resnet101': 'resnet_v1_101', 'resnet152': 'resnet_v1_152',
    'mobilenet_v2': 'mobilenet_v2'}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """All that a network's weights depend on; every checkpoint carries its own."""
  name: str = 'pspnet_resnet101'
  output_dim: int = 32
  output_stride: int = 8
  width: float = 1.0
  blocks: tuple[int, ...] = ()
  head_dim: int = 512
  batch_norm_epsilon: float = 1e-3
  batch_norm_decay: float = 0.9997
  head_batch_norm_decay: float = 0.99
  pool_padding: str = 'explicit'

  def parts(self):
    head, _, backbone = self.name.partition('_')
    for known in HEADS:
      if self.name.startswith(f'{known}_') and self.name[len(known) + 1:] in SCOPES:
        return known, self.name[len(known) + 1:]
    names = ', '.join(f'{head}_{backbone}' for head in HEADS for backbone in SCOPES)
    raise ValueError(f'--model {self.name}: unknown; there are {names}')


def build_model(config, *, synchronized=False, use_global_status=False, precision='float32',
                seed=0):
  head, backbone = config.parts()
  scope = SCOPES[backbone]
  common = {'epsilon': config.batch_norm_epsilon, 'synchronized': synchronized,
            'frozen': use_global_status, 'dtype': precision}
  trunk = LayerOptions(decay=config.batch_norm_decay, **common)
  images = keras.Input([None, None, 3], dtype='float32', name='images')
  if backbone == 'mobilenet_v2':
    features = mobilenet_v2(
        images, trunk, output_stride=config.output_stride, width=config.width,
        padding=config.pool_padding)
  else:
    features = resnet_v1(
        images, scope, config.blocks or BLOCKS[backbone], trunk,
        output_stride=config.output_stride, width=config.width, padding=config.pool_padding)
  output = HEADS[head](
      features, scope, config.output_dim,
      LayerOptions(decay=config.head_batch_norm_decay, **common), head_dim=config.head_dim)
  output = keras.layers.Activation('linear', dtype='float32')(output)
  model = keras.Model(images, output, name=config.name)
  for name, variable in variable_names(model).items():
    if variable.ndim > 1:
      random = np.random.default_rng([zlib.crc32(name.encode()), seed])
      fan = np.prod(variable.shape[:-1])
      if 'depthwise' in name:
        fan = np.prod(variable.shape[:2])
      variable.assign(random.normal(size=variable.shape, scale=np.sqrt(2 / fan)).astype('f4'))
  return model


def variable_names(model):
  names = {}
  for variable in model.variables:
    layer, _, kind = variable.path.rpartition('/')
    kind = {'kernel': 'weights', 'bias': 'biases'}.get(kind, kind)
    names[f'{layer.replace(".", "/")}/{kind}'] = variable
  return names


def is_head(name):
  return '/block5/' in name or '/fc1_c' in name
