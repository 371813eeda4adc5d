"""PSPNet: pyramid pooling over the whole map, then one 3x3 convolution.

Source: Zhao et al., CVPR 2017; specs/segsort.md, section 2.
"""

import keras

from network.common.layers import AdaptiveAveragePool, ResizeLike, conv

BINS = (1, 2, 3, 6)


def pspnet(features, scope, config, options):
  """Builds the head under `<scope>/block5`.

  Args:
    features: dict of Keras tensors from a backbone; 'output' [B, h, w, C] is used.
    scope: name of the network in variable names.
    config: `registry.ModelConfig`; head_dim is the width of each pyramid level and of the 3x3
      convolution (512 in the original).
    options: `layers.LayerOptions`.

  Returns:
    Keras tensor [B, h, w, config.output_dim].

  Deviates from the original: any map size will do; it needs squares of multiples of 6 cells, where
  the two are equal.
  """
  x = features['output']
  levels = []
  for bins in BINS:
    level = AdaptiveAveragePool(bins, dtype=options.dtype)(x)
    level = conv(level, config.head_dim, 1, f'{scope}.block5.pool{bins}.conv1', options)
    levels.append(ResizeLike(dtype=options.dtype)([level, x]))
  x = keras.layers.Concatenate(dtype=options.dtype)([*levels, x])
  x = conv(x, config.head_dim, 3, f'{scope}.block5.conv2', options)
  return conv(
      x, config.output_dim, 1, f'{scope}.block5.fc1_voc12', options, norm=False, activation=False)
