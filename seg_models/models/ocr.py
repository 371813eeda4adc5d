"""OCR: pixels refined by the representations of the objects that they may belong to.

Source: Yuan et al., Object-Contextual Representations for Semantic Segmentation, ECCV 2020.
"""

import keras

from network.common.layers import conv
from network.common.ocr import ObjectContext, ObjectRegions


def ocr(features, scope, config, options):
  """Builds the head under `<scope>/block5/ocr` and `<scope>/block5/auxiliary`.

  Args:
    features: dict of Keras tensors from a trunk; 'auxiliary' [B, h, w, C'] tells where each class
      may be, 'output' [B, h, w, C] what it looks like.
    scope: name of the network in variable names.
    config: `registry.ModelConfig`; head_dim is the width of the pixels' and regions'
      representations (512 in the published network), half of it that of queries and keys.
    options: `layers.LayerOptions`.

  Returns:
    dict of Keras tensors [B, h, w, config.output_dim]: 'logits', and 'auxiliary', those of the
    soft object regions, which want a loss of their own.

  Deviates from the original: no dropout (5 % before the classifier there).
  """
  def unit(x, filters, name, kernel=1):
    return conv(x, filters, kernel, f'{scope}.block5.{name}', options)

  def logits(x, name):
    return conv(x, config.output_dim, 1, f'{scope}.block5.{name}', options, norm=False,
                activation=False)

  dim, dtype = config.head_dim, options.dtype
  coarse = features['auxiliary']
  coarse = unit(coarse, coarse.shape[-1], 'auxiliary.conv1')
  coarse = logits(coarse, 'auxiliary.logits')

  pixels = unit(features['output'], dim, 'ocr.pixels', kernel=3)
  regions = ObjectRegions(dtype=dtype)([pixels, coarse])
  queries, keys = pixels, regions
  for index in (1, 2):
    queries = unit(queries, max(1, dim // 2), f'ocr.query{index}')
    keys = unit(keys, max(1, dim // 2), f'ocr.key{index}')
  values = unit(regions, max(1, dim // 2), 'ocr.value')
  context = ObjectContext(dtype=dtype)([queries, keys, values])
  context = unit(context, dim, 'ocr.context')
  x = keras.layers.Concatenate(dtype=dtype)([context, pixels])
  x = unit(x, dim, 'ocr.joined')
  return {'logits': logits(x, 'ocr.logits'), 'auxiliary': coarse}
