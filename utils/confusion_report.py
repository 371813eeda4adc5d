"""A confusion matrix for people and programs: table, JSON, CSV and picture."""

import csv

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils import files, images


def table(matrix, classes):
  """Yields the lines of a table in percent, and the original's lines after it.

  Args:
    matrix: `utils.metrics.ConfusionMatrix`.
    classes: names of its classes.
  """
  width = max(len(name) for name in (*classes, 'mean (present)'))
  share = matrix.true_pixels() / max(matrix.true_pixels().sum(), 1)
  iou, accuracy = matrix.iou(), matrix.accuracy()
  yield f'{"":3} {"class":{width}} {"IoU":>7} {"accuracy":>9} {"of pixels":>10}'
  for index, name in enumerate(classes):
    yield (f'{index:3} {name:{width}} {_percent(iou[index]):>7} {_percent(accuracy[index]):>9} '
           f'{_percent(share[index]):>10}')
  yield (f'{"":3} {"mean (present)":{width}} {_percent(matrix.mean_iou()):>7} '
         f'{_percent(matrix.mean_accuracy()):>9}')
  yield ''
  yield (f'mIoU over the {matrix.present().sum()} classes present: '
         f'{_percent(matrix.mean_iou())} %')
  yield f'pixel accuracy: {_percent(matrix.pixel_accuracy())} %'
  yield ''
  yield f"The original's lines, whose mean divides by all {len(classes)} classes:"
  for index, name in enumerate(classes):
    yield f'class {name:10s}: {index:02d}, acc: {100 * np.nan_to_num(iou[index]):4.4f}%'
  yield f'mean IOU: {100 * matrix.original_mean_iou():4.4f}%'
  yield f'mean Pixel Acc: {100 * matrix.pixel_accuracy():4.4f}%'


def _percent(value):
  return '-' if np.isnan(value) else f'{100 * value:.2f}'


def as_dict(matrix, classes):
  """Everything that `table` shows, as JSON values: ratios in 0..1, None for what is not defined."""
  def ratio(value):
    return None if np.isnan(value) else float(value)
  iou, accuracy = matrix.iou(), matrix.accuracy()
  return {
      'mean_iou': ratio(matrix.mean_iou()), 'original_mean_iou': matrix.original_mean_iou(),
      'mean_accuracy': ratio(matrix.mean_accuracy()),
      'pixel_accuracy': ratio(matrix.pixel_accuracy()),
      'classes_present': int(matrix.present().sum()), 'ignore_label': matrix.ignore_label,
      'classes': [{
          'id': index, 'name': name, 'iou': ratio(iou[index]), 'accuracy': ratio(accuracy[index]),
          'true_pixels': int(matrix.true_pixels()[index]),
          'predicted_pixels': int(matrix.counts[:, index].sum())}
                  for index, name in enumerate(classes)],
      'confusion': matrix.counts.tolist()}


def write_csv(path, matrix, classes):
  """Writes the counts: a row for each true class, a column for each predicted one.

  A last column, for the pixels that got no class, is there if there are such pixels.
  """
  columns, counts = [*classes], matrix.counts
  if matrix.unassigned.any():
    columns.append('no class')
    counts = np.column_stack([counts, matrix.unassigned])
  with files.replacing(path, 'w') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(['true \\ predicted', *columns])
    for name, row in zip(classes, counts.tolist(), strict=True):
      writer.writerow([name, *row])


def write_picture(path, matrix, classes):
  """Writes a PNG: rows are true classes, in percent of their pixels; darker is more."""
  images.write_png(path, picture(matrix, classes))


def picture(matrix, classes, cell=34):
  """The confusion matrix as uint8 [height, width, 3], `cell` pixels a class."""
  font = ImageFont.load_default(11)
  names = [f'{name} {index}' for index, name in enumerate(classes)]
  margin = int(max(font.getlength(name) for name in names)) + 8
  top = cell
  canvas = Image.new('RGB', (margin + cell * len(names) + 1, top + cell * len(names) + 1), 'white')
  draw = ImageDraw.Draw(canvas)
  shares = matrix.counts / np.maximum(matrix.true_pixels()[:, None], 1)
  for row, name in enumerate(names):
    y = top + row * cell
    draw.text((margin - 4, y + cell // 2), name, 'black', font, anchor='rm')
    draw.text((margin + row * cell + cell // 2, top // 2), str(row), 'black', font, anchor='mm')
    for column, share in enumerate(shares[row]):
      x = margin + column * cell
      shade = tuple(int(255 - share * (255 - dark)) for dark in (8, 48, 107))
      draw.rectangle((x, y, x + cell, y + cell), shade, (200, 200, 200))
      if share >= 0.005:
        draw.text((x + cell // 2, y + cell // 2), f'{100 * share:.0f}',
                  'white' if share > 0.5 else 'black', font, anchor='mm')
  return np.asarray(canvas)
