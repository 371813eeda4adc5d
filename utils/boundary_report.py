"""Scores at boundaries for people and programs: table, JSON, and a comparison of several files."""

import numpy as np

from utils import files


def table(bands, boundary_f, classes):
  """Yields the lines of a table in percent.

  Args:
    bands: `utils.boundary_bands.BoundaryBands`.
    boundary_f: `utils.boundary_f.BoundaryF`.
    classes: names of the classes.
  """
  yield 'within so many pixels of a true boundary, on each side:'
  yield f'{"width":>6} {"mIoU":>7} {"accuracy":>9} {"pixels":>12}'
  for width, matrix in zip(bands.widths, bands.matrices, strict=True):
    yield (f'{width:6} {_percent(matrix.mean_iou()):>7} {_percent(matrix.pixel_accuracy()):>9} '
           f'{matrix.true_pixels().sum():12}')
  yield ''
  precision, recall, score = boundary_f.mean()
  names = max(len(name) for name in (*classes, 'mean of images'))
  yield (f'boundary F of classes, tolerance {100 * boundary_f.tolerance:.4g} % of the diagonal, '
         f'{_scored_images(boundary_f)} images with a boundary:')
  yield f'{"":{names}} {"precision":>9} {"recall":>7} {"F":>7}'
  for name, values in (*zip(classes, boundary_f.class_scores(), strict=True),
                       ('mean of images', (precision, recall, score))):
    shown = [_percent(value) for value in values]
    yield f'{name:{names}} {shown[0]:>9} {shown[1]:>7} {shown[2]:>7}'


def _percent(value):
  return '-' if value is None or np.isnan(value) else f'{100 * value:.2f}'


def _scored_images(boundary_f):
  return int((~np.isnan(boundary_f.image_scores()[:, 2])).sum())


def as_dict(bands, boundary_f, classes):
  """What `table` shows, as JSON values: ratios in 0..1, None for what is not defined."""
  def ratio(value):
    return None if np.isnan(value) else float(value)

  def scores(values):
    return dict(zip(('precision', 'recall', 'f'), map(ratio, values), strict=True))

  return {
      'bands': [{
          'width': width, 'mean_iou': ratio(matrix.mean_iou()),
          'pixel_accuracy': ratio(matrix.pixel_accuracy()),
          'pixels': int(matrix.true_pixels().sum()),
          'iou': [ratio(value) for value in matrix.iou()]}
                for width, matrix in zip(bands.widths, bands.matrices, strict=True)],
      'tolerance': boundary_f.tolerance, 'images_with_boundary': _scored_images(boundary_f),
      **scores(boundary_f.mean()),
      'classes': [{'id': index, 'name': name, **scores(values)} for index, (name, values)
                  in enumerate(zip(classes, boundary_f.class_scores(), strict=True))]}


def comparison(named_files):
  """Yields the lines of a Markdown table: a row a name, in percent.

  Args:
    named_files: pairs (name, file written by benchmark_by_mIoU.py --boundary --json); files of the
      same name, such as those of several seeds, are averaged.

  Raises:
    ValueError: a file has no such scores, or of other bands than the first; names it.
  """
  rows, widths = {}, None
  for name, path in named_files:
    report = files.read_json(path)
    boundary = report.get('boundary') if isinstance(report, dict) else None
    if boundary is None:
      raise ValueError(f'{path}: no scores at boundaries; make it with benchmark_by_mIoU.py '
                       '--boundary --json')
    bands = boundary['bands']
    widths = widths or [band['width'] for band in bands]
    if widths != [band['width'] for band in bands]:
      raise ValueError(f'{path}: bands of {[band["width"] for band in bands]} pixels, others of '
                       f'{widths}: score all with the same --boundary')
    rows.setdefault(name, []).append(
        [report['mean_iou'], *(band['mean_iou'] for band in bands),
         *(boundary[key] for key in ('precision', 'recall', 'f'))])
  yield ('| | mIoU | ' + ' | '.join(f'{width} px' for width in widths)
         + ' | precision | recall | boundary F |')
  yield '|---' * (len(widths) + 5) + '|'
  for name, values in rows.items():
    cells = [_percent(value) for value in np.mean(np.array(values, float), axis=0)]
    yield f'| {name} | {" | ".join(cells)} |'
