"""HRNet's own head: one 1x1 convolution over all branches, and a classifier.

Source: Wang et al., TPAMI 2020, section 3.3 (HRNetV2).
"""

from network.common.layers import conv


def hrnet(features, scope, config, options):
  """Builds `<scope>/block5/conv1`, as wide as the trunk, and `<scope>/block5/logits`.

  Arguments and result as `pspnet.pspnet`'s; any trunk will do.

  The network of the pixel contrast paper's release has a 3x3 convolution and dropout of channels
  here; this one is the published HRNetV2's, which the public files fit.
  """
  x = features['output']
  x = conv(x, x.shape[-1], 1, f'{scope}.block5.conv1', options)
  return conv(
      x, config.output_dim, 1, f'{scope}.block5.logits', options, norm=False, activation=False)
