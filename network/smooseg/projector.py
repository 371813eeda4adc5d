"""SmooSeg's projector: from frozen features to a code.

Source: specs/smooseg.md, section 1.2.
"""

import tensorflow as tf

from network.stego.head import SegmentationHead


class Projector(SegmentationHead):
  """code = linear(f) + last(SiLU(hidden(f))), 1x1 convolutions with bias; any length.

  STEGO's head with another nonlinearity.
  """
  activation = staticmethod(tf.nn.silu)

  def project(self, features, masks):
    """A code of features of which channels are dropped, and the features for the loss.

    Args:
      features: float [B, h, w, C].
      masks: float32 [3, B, 1, 1, C], of `network.common.channel_dropout`: what `linear`, `hidden`
        and the loss see is independent.

    Returns:
      code: float32 [B, h, w, D].
      dropped: float32 [B, h, w, C], the features under the third mask.
    """
    first, second, third = (features * mask for mask in tf.unstack(masks))
    return self(first, second), third
