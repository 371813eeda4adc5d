"""FCN: one 1x1 convolution on the trunk.

Source: Long et al., CVPR 2015, without skips as in the original; specs/segsort.md, section 1.5.
"""

from network.common.layers import conv


def fcn(features, scope, config, options):
  """Builds the head, `<scope>/block5/fc1_voc12`; arguments and result as `pspnet.pspnet`'s."""
  return conv(
      features['output'], config.output_dim, 1, f'{scope}.block5.fc1_voc12', options, norm=False,
      activation=False)
