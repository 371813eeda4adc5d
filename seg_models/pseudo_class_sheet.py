"""A picture of pseudo-classes: of each the segments that lie nearest to its centre."""

import numpy as np

from network.segsort.pseudo_classes import nearest_centres
from seg_models.explanation import stack_rows, tile
from utils import colors, images

# The side of what is shown: of the segment's larger side, and of the image's smaller one at least.
_AROUND = 1.5
_OF_IMAGE = 0.4
_FADED = 0.6  # opacity of what is not the segment


def most_central(labels, similarity, places, columns):
  """The segments nearest to each centre, one of an image at most.

  Args:
    labels: int [P], the group of each segment.
    similarity: float [P], its cosine to the centre.
    places: int [P], the image that it is in.
    columns: how many of each group at most.

  Returns:
    dict of group -> list of segments (places in these arrays), the nearest first.
  """
  chosen, seen = {}, set()
  for segment in np.argsort(-similarity, kind='stable'):
    label = int(labels[segment])
    if len(chosen.setdefault(label, [])) < columns and (label, places[segment]) not in seen:
      chosen[label].append(int(segment))
      seen.add((label, places[segment]))
  return chosen


def cut_out(image, inside, box):
  """A square part of an image around a segment, which is outlined, with all else faded.

  Args:
    image: uint8 [H, W, 3].
    inside: bool [H, W], the segment.
    box: int [4], (top, left, bottom, right) of it, the last two exclusive.

  Returns:
    uint8 [h, w, 3], a square unless the image is smaller.
  """
  box, size = np.asarray(box), np.array(inside.shape)
  extent = box[2:] - box[:2]
  side = int(max(_AROUND * extent.max(), _OF_IMAGE * size.min()))
  top, left = np.clip((box[:2] + box[2:] - side) // 2, 0, np.maximum(size - side, 0))
  part = np.s_[top:top + side, left:left + side]
  faded = colors.overlay(np.full_like(image[part], 255), image[part], _FADED)
  picture = np.where(inside[part][..., None], image[part], faded)
  return colors.outlined(picture, inside[part])


def pseudo_class_sheet(bank, places, entries, segments_of, classes, palette, *, rows=50, columns=8,
                       height=80):
  """Draws one row for each pseudo-class: its share of all pixels, and its most central segments.

  Args:
    bank: `Bank` of all images' segments, with `pixels`, `cluster` and `box`.
    places: int [P], the place in `entries` of each segment's image.
    entries: list of `seg_models.image_reader.Entry`.
    segments_of: function of an entry that gives the ids of its segments, int [H, W].
    classes: `seg_models.pseudo_classes.PseudoClasses`.
    palette: uint8 [colours, 3], their colours, which repeat after 256.
    rows: pseudo-classes that are shown at most, the first ones.
    columns: segments of each at most, from as many images.
    height: of every tile in pixels.

  Returns:
    uint8 [h, w, 3].
  """
  labels, similarity = nearest_centres(bank.features, classes.centres)
  shares = np.bincount(labels, bank.pixels, len(classes)) / bank.pixels.sum()
  chosen = most_central(labels, similarity, places, columns)
  sheet = []
  for label in range(min(rows, len(classes))):
    color = colors.colorize(label % 256, palette)
    row = [tile(np.full([height, height, 3], color, np.uint8),
                f'{label}: {100 * shares[label]:.1f} %', color, height)]
    for segment in chosen.get(label, []):
      entry = entries[places[segment]]
      picture = cut_out(images.read_image(entry.image),
                        segments_of(entry) == bank.cluster[segment], bank.box[segment])
      row.append(tile(picture, f'{similarity[segment]:.3f}', color, height))
    sheet.append(row)
  return stack_rows(sheet)
