"""The public HRNetV2 weights onto `hrnet` and its heads, by an explicit table of names.

The public files name their arrays by PyTorch's modules, `stage2.0.branches.0.0.conv1.weight` say:
the ImageNet classifiers, and the segmentation networks with and without OCR. Arrays in, arrays
out; reading files is utils/named_arrays.py's.
"""

import re

import numpy as np

# What a file's names may begin with: that of the module around the network when it was saved.
_WRAPPERS = ('module.', 'model.')
# Batch norm's epsilon, with which they were trained.
EPSILON = 1e-5
_KERNEL, _BIAS = {'weights': 'weight'}, {'biases': 'bias'}
_NORM = {'gamma': 'weight', 'beta': 'bias', 'moving_mean': 'running_mean',
         'moving_variance': 'running_var'}
_OCR = 'ocr_distri_head.object_context_block'
# Layer of the heads -> module of the convolution, module of its batch norm.
_HEADS = {
    'conv1': ('last_layer.0', 'last_layer.1'),
    'logits': ('last_layer.3', None),
    'auxiliary/conv1': ('aux_head.0', 'aux_head.1'),
    'auxiliary/logits': ('aux_head.3', None),
    'ocr/pixels': ('conv3x3_ocr.0', 'conv3x3_ocr.1'),
    'ocr/query1': (f'{_OCR}.f_pixel.0', f'{_OCR}.f_pixel.1.0'),
    'ocr/query2': (f'{_OCR}.f_pixel.2', f'{_OCR}.f_pixel.3.0'),
    'ocr/key1': (f'{_OCR}.f_object.0', f'{_OCR}.f_object.1.0'),
    'ocr/key2': (f'{_OCR}.f_object.2', f'{_OCR}.f_object.3.0'),
    'ocr/value': (f'{_OCR}.f_down.0', f'{_OCR}.f_down.1.0'),
    'ocr/context': (f'{_OCR}.f_up.0', f'{_OCR}.f_up.1.0'),
    'ocr/joined': ('ocr_distri_head.conv_bn_dropout.0', 'ocr_distri_head.conv_bn_dropout.1.0'),
    'ocr/logits': ('cls_head', None),
}
# Convolutions of the heads that have a bias although a batch norm follows, by that batch norm.
_BIASED = {norm: conv for conv, norm in _HEADS.values()
           if norm in ('last_layer.1', 'aux_head.1', 'conv3x3_ocr.1')}
# Pattern of a layer of the trunk -> its modules; what counts from 1 here counts from 0 there.
_TRUNK = tuple((re.compile(pattern), modules) for pattern, modules in (
    (r'conv(\d)', lambda index: (f'conv{index}', f'bn{index}')),
    (r'stage1/unit_(\d)/bottleneck/conv(\d)', lambda unit, index: (
        f'layer1.{unit - 1}.conv{index}', f'layer1.{unit - 1}.bn{index}')),
    (r'stage1/unit_1/bottleneck/shortcut', lambda: (
        'layer1.0.downsample.0', 'layer1.0.downsample.1')),
    (r'transition1/branch_1', lambda: ('transition1.0.0', 'transition1.0.1')),
    (r'transition(\d)/branch_(\d)', lambda index, branch: tuple(
        f'transition{index}.{branch - 1}.0.{part}' for part in (0, 1))),
    (r'stage(\d)/module_(\d)/branch_(\d)/unit_(\d)/conv(\d)',
     lambda stage, module, branch, unit, index: tuple(
         f'stage{stage}.{module - 1}.branches.{branch - 1}.{unit - 1}.{kind}{index}'
         for kind in ('conv', 'bn'))),
    (r'stage(\d)/module_(\d)/fuse_(\d)_to_(\d)', lambda stage, module, source, target: tuple(
        f'stage{stage}.{module - 1}.fuse_layers.{target - 1}.{source - 1}.{part}'
        for part in (0, 1))),
    (r'stage(\d)/module_(\d)/fuse_(\d)_to_(\d)/conv(\d)',
     lambda stage, module, source, target, step: tuple(
         f'stage{stage}.{module - 1}.fuse_layers.{target - 1}.{source - 1}.{step - 1}.{part}'
         for part in (0, 1))),
))


def is_hrnet(names):
  """Whether names of arrays are those of a public HRNetV2 file."""
  names = {_unwrapped(name) for name in names}
  return {'conv2.weight', 'transition1.0.0.weight', 'stage4.0.branches.3.0.conv1.weight'} <= names


def public_name(name):
  """Name in the public files of a variable of HRNet.

  Args:
    name: canonical, `hrnet_w48/stage2/module_1/branch_1/unit_1/conv1/weights` say.

  Returns:
    `stage2.0.branches.0.0.conv1.weight` for it; None where there is none in any public file: of
    other heads.
  """
  layer, _, part = name.partition('/')[2].rpartition('/')
  norm = layer.endswith('/BatchNorm')
  layer = layer.removesuffix('/BatchNorm')
  if layer.startswith('block5/'):
    modules = _HEADS.get(layer.removeprefix('block5/'))
  else:
    modules = next((make(*map(int, match.groups())) for pattern, make in _TRUNK
                    if (match := pattern.fullmatch(layer))), None)
  parts = _NORM if norm else _KERNEL | _BIAS
  return f'{modules[norm]}.{parts[part]}' if modules and part in parts else None


class PublicHRNet:
  """The arrays of a public file as `hrnet`'s variables want them, by their public names.

  Convolutions' weights are [height, width, in, out]; a bias before a batch norm moves into its
  moving mean; the counters of batches are left out.

  Args:
    arrays: an object with `names()`, `shape(name)` and `read(name)`.
  """

  def __init__(self, arrays):
    self._arrays = arrays
    self._sources = {
        _unwrapped(name): name for name in arrays.names()
        if not name.endswith('num_batches_tracked')}

  def names(self):
    """Public names of what is to be assigned or reported."""
    folded = {f'{conv}.bias' for conv in _BIASED.values()}
    return [name for name in self._sources if name not in folded]

  def shape(self, name):
    shape = tuple(self._arrays.shape(self._sources[name]))
    return (*shape[2:], shape[1], shape[0]) if len(shape) == 4 else shape

  def read(self, name):
    value = np.asarray(self._arrays.read(self._sources[name]))
    module = name.removesuffix('.running_mean')
    bias = f'{_BIASED[module]}.bias' if module in _BIASED else None
    if bias in self._sources:
      value = value - np.asarray(self._arrays.read(self._sources[bias]))
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def _unwrapped(name):
  while name.startswith(_WRAPPERS):
    name = name.partition('.')[2]
  return name
