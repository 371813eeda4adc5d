"""A second, smaller classifier inside the trunk, for a loss in training only.

Source: Zhao et al., CVPR 2017, section 3.3; specs/contrast.md, section 4.1.
"""

from network.common.layers import conv


def auxiliary(features, scope, config, options):
  """Builds `<scope>/block5/auxiliary`: a 3x3 convolution, a quarter as wide as what it sees, 1x1.

  Args:
    features: dict of Keras tensors from a trunk; 'auxiliary' [B, h, w, C] is used (block 3 of a
      ResNet, whose 1024 channels become 256).
    scope, config, options: as the heads'.

  Returns:
    Keras tensor [B, h, w, config.output_dim].
  """
  x = features['auxiliary']
  x = conv(x, max(1, x.shape[-1] // 4), 3, f'{scope}.block5.auxiliary.conv1', options)
  return conv(x, config.output_dim, 1, f'{scope}.block5.auxiliary.logits', options, norm=False,
              activation=False)
