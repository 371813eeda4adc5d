"""The public weights of DINO and DINOv2 onto `vision_transformer`, by name.

The public files and timm's name their arrays alike, `blocks.0.attn.qkv.weight` say. Arrays in,
arrays out; reading files is utils/named_arrays.py's.

Source: specs/stego.md, sections 1.1 and 1.2.
"""

import numpy as np

# What a file's names may begin with: those of the modules around the network when it was saved.
_WRAPPERS = ('module.', 'backbone.')
_DINO = 'https://dl.fbaipublicfiles.com/dino/{0}/{0}.pth'
_DINOV2 = 'https://dl.fbaipublicfiles.com/dinov2/{0}/{0}_pretrain.pth'
SOURCES = {
    'dino_vits8': _DINO.format('dino_deitsmall8_300ep_pretrain'),
    'dino_vits16': _DINO.format('dino_deitsmall16_pretrain'),
    'dino_vitb8': _DINO.format('dino_vitbase8_pretrain'),
    'dino_vitb16': _DINO.format('dino_vitbase16_pretrain'),
    'dinov2_vits14': _DINOV2.format('dinov2_vits14'),
    'dinov2_vitb14': _DINOV2.format('dinov2_vitb14')}
# Repositories of huggingface.co/timm whose model.safetensors holds the same.
TIMM = {
    'dino_vits8': 'vit_small_patch8_224.dino', 'dino_vits16': 'vit_small_patch16_224.dino',
    'dino_vitb8': 'vit_base_patch8_224.dino', 'dino_vitb16': 'vit_base_patch16_224.dino',
    'dinov2_vits14': 'vit_small_patch14_dinov2.lvd142m',
    'dinov2_vitb14': 'vit_base_patch14_dinov2.lvd142m'}
_PARTS = {'weights': 'weight', 'biases': 'bias', 'gamma': 'weight', 'beta': 'bias'}


def public_name(name):
  """Name in the public files of a variable of a vision transformer.

  Args:
    name: canonical, `dino_vits8/blocks/0/attn/qkv/weights` say.

  Returns:
    `blocks.0.attn.qkv.weight` for it; None for a head's, which is in no public file.
  """
  layer, _, part = name.partition('/')[2].rpartition('/')
  if layer.startswith('block5/'):
    return None
  if not layer or layer.endswith(('/ls1', '/ls2')):
    return f'{layer}/{part}'.strip('/').replace('/', '.')
  return f'{layer}/{_PARTS[part]}'.replace('/', '.')


class PublicTransformer:
  """The arrays of a public file as the variables want them, by their public names.

  Convolutions' weights become [height, width, in, out], linear ones [in, out]; the CLS token and
  the position embedding lose their axis of images.

  Args:
    arrays: an object with `names()`, `shape(name)` and `read(name)`.
  """

  def __init__(self, arrays):
    self._arrays = arrays
    self._sources = {_unwrapped(name): name for name in arrays.names()}

  def names(self):
    return list(self._sources)

  def shape(self, name):
    shape = tuple(self._arrays.shape(self._sources[name]))
    if name in ('cls_token', 'pos_embed') and shape[:1] == (1,):
      return shape[1:]
    return (*shape[2:], *shape[1::-1]) if len(shape) in (2, 4) else shape

  def read(self, name):
    value = np.asarray(self._arrays.read(self._sources[name]))
    if name in ('cls_token', 'pos_embed') and value.shape[:1] == (1,):
      return value[0]
    if value.ndim in (2, 4):
      return value.transpose(*range(2, value.ndim), 1, 0)
    return value


def _unwrapped(name):
  while name.startswith(_WRAPPERS):
    name = name.partition('.')[2]
  return name
