"""Pictures that explain labels: an image, what it was labelled, and the segments that said so."""

import collections
import os

import numpy as np
from PIL import Image, ImageDraw

from utils import colors, images

_MARGIN = 4
_TEXT = 12  # height of Pillow's built-in font with its spacing
_FRAME = (255, 255, 255)


def explanation_sheet(image, truth, prediction, segments, dataset, data_dir, *, rows=3,
                      neighbours=5, height=120):
  """Draws one picture for one image.

  Above: the image, the truth where it is known, and the prediction over the image. Below, a row
  for each of the largest segments, the largest of every class first: the segment's box, and the
  boxes of its nearest neighbours in the bank with their class and similarity; a frame's colour is
  the class.

  Args:
    image: uint8 [H, W, 3], RGB.
    truth: int [H, W] or None.
    prediction: int [H, W].
    segments: list of dicts as `seg_models.prediction.neighbours_of` gives them, read from
      `neighbours/<id>.json`.
    dataset: `seg_models.datasets.Dataset`.
    data_dir: folder that the neighbours' images are relative to.
    rows: segments that are shown.
    neighbours: neighbours that are shown of each.
    height: of every tile in pixels.

  Returns:
    uint8 [h, w, 3].

  Raises:
    ValueError: the bank does not know where its prototypes come from (one of the original's).
  """
  maps = [('image', image)]
  if truth is not None:
    maps.append(('truth', colors.colorize(truth, dataset.palette)))
  maps.append(('prediction', colors.overlay(image, colors.colorize(prediction, dataset.palette))))
  sheet = [[tile(picture, title, None, height) for title, picture in maps]]
  for segment in _most_telling(segments)[:rows]:
    row = [tile(_crop(image, segment['box']), f'{dataset.classes[segment["class"]]}',
                dataset.palette[segment['class']], height)]
    for neighbour in segment['neighbours'][:neighbours]:
      if 'image' not in neighbour or 'box' not in neighbour:
        raise ValueError('the bank does not know the images of its prototypes: extract it with '
                         'extract_prototypes.py of this project')
      source = images.read_image(os.path.join(data_dir, neighbour['image']))
      name = dataset.classes[neighbour['class']]
      row.append(tile(
          _crop(source, neighbour['box']), f'{name} {neighbour["similarity"]:.2f}',
          dataset.palette[neighbour['class']], height))
    sheet.append(row)
  return stack_rows(sheet)


def _most_telling(segments):
  """The largest segment of every class, then the second largest, and so on."""
  ranked, seen = [], collections.Counter()
  for segment in sorted(segments, key=lambda segment: -segment['pixels']):
    ranked.append((seen[segment['class']], -segment['pixels'], segment['segment'], segment))
    seen[segment['class']] += 1
  return [segment for *_, segment in sorted(ranked, key=lambda entry: entry[:3])]


def _crop(image, box):
  top, left, bottom, right = box
  return image[top:bottom, left:right]


def tile(picture, title, color, height):
  """A picture scaled to one height in a coloured frame, with a line of text below."""
  width = max(1, min(3 * height, round(picture.shape[1] * height / picture.shape[0])))
  scaled = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
  font_width = 7 * len(title)
  framed = Image.new(
      'RGB', (max(width, font_width) + 2 * _MARGIN, height + 2 * _MARGIN + _TEXT), _FRAME)
  draw = ImageDraw.Draw(framed)
  if color is not None:
    frame = tuple(int(channel) for channel in color)
    draw.rectangle([0, 0, width + 2 * _MARGIN - 1, height + 2 * _MARGIN - 1], fill=frame)
  framed.paste(scaled, (_MARGIN, _MARGIN))
  draw.text((_MARGIN, height + 2 * _MARGIN), title, fill=(0, 0, 0))
  return np.asarray(framed)


def stack_rows(rows):
  """Tiles side by side, rows below each other, on white."""
  lines = [np.concatenate([_pad(one, max(one.shape[0] for one in row), one.shape[1])
                           for one in row], axis=1) for row in rows]
  width = max(line.shape[1] for line in lines)
  return np.concatenate([_pad(line, line.shape[0], width) for line in lines])


def _pad(picture, height, width):
  padded = np.full([height, width, 3], 255, np.uint8)
  padded[:picture.shape[0], :picture.shape[1]] = picture
  return padded
