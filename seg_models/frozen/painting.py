"""Pictures of predicted clusters: painted maps, overlays, and a gallery of the clusters."""

import numpy as np
import tqdm

from seg_models.explanation import stack_rows, tile
from seg_models.pseudo_class_sheet import cut_out
from utils import colors, images
from utils.background import map_ahead
from utils.metrics import NO_CLASS

_ROWS = 64  # clusters that the gallery shows at most, the largest


def painted_ids(clusters, classes, num_classes):
  """What clusters are painted as: their classes, and those without as none of the classes.

  Args:
    clusters: int [...], ids from 0.
    classes: int [K], of `utils.cluster_matching.match`, `NO_CLASS` where there is none; or None,
      where clusters have no meaning and are painted as they are.
    num_classes: C.

  Returns:
    int64 [...] in 0..255.
  """
  if classes is None:
    return np.asarray(clusters, np.int64) % 256
  names = np.where(classes == NO_CLASS, num_classes + np.arange(len(classes)), classes)
  return names[clusters] % 256


def paint(folder, shown, classes, dataset):
  """Writes `color/<id>.png`, which is all palette, and `overlay/<id>.png` for every image.

  Args:
    folder: `seg_models.frozen.cluster_folder.ClusterFolder` with all predictions.
    shown: function of an entry that gives what was predicted of it: uint8 [H, W, 3].
    classes: see `painted_ids`.
    dataset: `seg_models.datasets.Dataset` with the palette.

  Returns:
    int64 [N, K], pixels of every cluster in every image.
  """
  kind = folder.kinds[0]

  def one(entry):
    clusters = folder.read(kind, entry)
    ids = painted_ids(clusters, classes, dataset.num_classes)
    images.write_png(folder.file('color', entry), ids.astype(np.uint8), dataset.palette)
    colored = colors.colorize(ids, dataset.palette)
    images.write_png(folder.file('overlay', entry), colors.overlay(shown(entry), colored))
    return np.bincount(clusters.ravel())

  counts = list(tqdm.tqdm(
      map_ahead(one, folder.entries), total=len(folder.entries), desc='pictures', unit='image'))
  table = np.zeros([len(counts), max(map(len, counts))], np.int64)
  for row, count in zip(table, counts, strict=True):
    row[:len(count)] = count
  return table


def gallery(folder, shown, counts, classes, dataset, *, columns=8, height=80):
  """Draws one row for each cluster: its share of all pixels, and where it covers most of an image.

  Args:
    folder, shown, classes, dataset: see `paint`.
    counts: int64 [N, K] of `paint`.
    columns: images of each cluster at most.
    height: of every tile in pixels.

  Returns:
    uint8 [h, w, 3].
  """
  totals = counts.sum(0)
  shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  sheet = []
  for cluster in np.argsort(-totals, kind='stable')[:_ROWS]:
    if not totals[cluster]:
      break
    ids = painted_ids(np.array(cluster), classes, dataset.num_classes)
    color = colors.colorize(ids, dataset.palette)
    name = f'{cluster}: {100 * totals[cluster] / totals.sum():.1f} %'
    if classes is not None and classes[cluster] != NO_CLASS:
      name += f' {dataset.classes[classes[cluster]]}'
    row = [tile(np.full([height, height, 3], color, np.uint8), name, color, height)]
    for place in np.argsort(-shares[:, cluster], kind='stable')[:columns]:
      if not counts[place, cluster]:
        break
      entry = folder.entries[place]
      inside = folder.read(folder.kinds[0], entry) == cluster
      rows, cols = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
      box = rows[0], cols[0], rows[-1] + 1, cols[-1] + 1
      row.append(tile(cut_out(shown(entry), inside, box),
                      f'{100 * shares[place, cluster]:.0f} %', color, height))
    sheet.append(row)
  return stack_rows(sheet)
