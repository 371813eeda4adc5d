"""A table of methods without labels: scores of clusters and of a linear probe, with spread."""

import json
import pathlib
import re

import numpy as np

_NAME = re.compile(r'(?P<method>.+?)(-seed(?P<seed>\d+))?-(?P<probe>clusters|linear)\.json')
_SCORES = 'mean_iou', 'pixel_accuracy'


def cluster_table(directory):
  """Yields the lines of a Markdown table.

  Args:
    directory: folder of METHOD-seedN-clusters.json and METHOD-seedN-linear.json, as
      inference_clusters.py writes metrics.json and metrics_linear.json; or without the seed.

  Yields:
    A row for each method, by ascending mIoU of its clusters: mean and sample deviation over seeds
    in percent; those without clusters come first.

  Raises:
    ValueError: the folder holds no result.
  """
  results = {}
  for path in sorted(pathlib.Path(directory).glob('*.json')):
    match = _NAME.fullmatch(path.name)
    if match:
      report = json.loads(path.read_text(encoding='utf-8'))
      of_method = results.setdefault(match['method'], {'clusters': [], 'linear': []})
      of_method[match['probe']].append([report[name] for name in _SCORES])
  if not results:
    raise ValueError(f'{directory}: no files METHOD-seedN-clusters.json; make them with '
                     'table_clusters.sh')
  yield '| method | seeds | clusters: mIoU | accuracy | linear probe: mIoU | accuracy |'
  yield '|---|---|---|---|---|---|'
  for method, probes in sorted(results.items(), key=lambda item: _order(item[1])):
    seeds = max(map(len, probes.values()))
    cells = [cell for probe in ('clusters', 'linear') for cell in _cells(probes[probe])]
    yield f'| {method} | {seeds} | {" | ".join(cells)} |'


def _order(probes):
  return np.mean(probes['clusters'], axis=0)[0] if probes['clusters'] else -1.0


def _cells(scores):
  if not scores:
    return ['', '']
  values = 100 * np.array(scores)
  if len(values) == 1:
    return [f'{value:.2f}' for value in values[0]]
  return [f'{mean:.2f} ± {spread:.2f}'
          for mean, spread in zip(values.mean(0), values.std(0, ddof=1), strict=True)]
