"""What a run shows of a batch: the input, the truth, and what the method makes of it."""

import numpy as np

from network.common.preprocessing import MEAN_RGB
from network.segsort.visualization import pca_rgb
from utils import colors


def batch_pictures(method, batch, dataset, count=2):
  """Pictures of the first images of a batch.

  Args:
    method: one of `METHODS`, whose `maps(batch)` gives name -> int32 [N, h, w] label or segment
      maps (names beginning with `segment` are painted without meaning) or float [N, h, w, D]
      embeddings (painted by their principal components).
    batch: as the image reader gives it.
    dataset: descriptor with the palette.
    count: how many images of the batch.

  Returns:
    name -> uint8 [N, height, width, 3].
  """
  batch = {name: value[:count] for name, value in batch.items()}
  images = np.asarray(batch['image']) + MEAN_RGB
  pictures = {
      'input': np.clip(np.round(images), 0, 255).astype(np.uint8),
      'truth': colors.colorize(np.asarray(batch['label']), dataset.palette)}
  for name, values in method.maps(batch).items():
    values = np.asarray(values)
    if values.ndim == 4:
      pictures[name] = np.asarray(pca_rgb(values))
    elif name.startswith('segment'):
      # Neighbouring numbers get unlike colours; -1, outside the image, is black.
      pictures[name] = colors.colorize((values + 1) % 256, colors.voc_palette())
    else:
      pictures[name] = colors.colorize(values, dataset.palette)
  return pictures
