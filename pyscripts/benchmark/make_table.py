"""Prints a Markdown table from the results of several runs, files of benchmark_by_mIoU.py --json.

The mIoU of a folder of METHOD-seedN-SCALES.json, SCALES single, multi or pseudo_classes; a row is a
method and its scales, a column a seed, the last one their mean. METHOD-SCALES.json is of what has
no seed, and has a mean only:
  python pyscripts/benchmark/make_table.py snapshots/results/camvid
Methods without labels, of a folder of METHOD-seedN-clusters.json and METHOD-seedN-linear.json:
  python pyscripts/benchmark/make_table.py --clusters snapshots/results/camvid/clusters
Scores near boundaries, of files made with --boundary; files of the same name are averaged:
  python pyscripts/benchmark/make_table.py --boundary SegSort=a.json SegSort=b.json softmax=c.json
"""

import argparse
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from utils import boundary_report  # noqa: E402
from utils.cluster_table import cluster_table  # noqa: E402
from utils.command_line import run  # noqa: E402

SCALES = ('single', 'multi', 'pseudo_classes')
NAME = re.compile(
    rf'(?P<method>.+?)(-seed(?P<seed>\d+))?-(?P<scales>{"|".join(SCALES)})\.json')


def table(directory):
  """The lines of the table.

  Raises:
    ValueError: the folder holds no result.
  """
  results = {}
  for path in sorted(pathlib.Path(directory).glob('*.json')):
    match = NAME.fullmatch(path.name)
    if match:
      row = match['method'], match['scales']
      seed = match['seed'] and int(match['seed'])
      results.setdefault(row, {})[seed] = json.loads(path.read_text())['mean_iou']
  if not results:
    raise ValueError(f'{directory}: no files METHOD-seedN-SCALES.json; make them with table.sh')
  seeds = sorted({seed for values in results.values() for seed in values} - {None})
  yield '| method | scales | ' + ' | '.join(f'seed {seed}' for seed in seeds) + ' | mean |'
  yield '|---|---|' + '---|' * (len(seeds) + 1)
  for (method, scales), values in sorted(results.items(), key=_order):
    cells = [f'{100 * values[seed]:.2f}' if seed in values else '' for seed in seeds]
    mean = 100 * sum(values.values()) / len(values)
    yield f'| {method} | {scales} | {" | ".join(cells)} | {mean:.2f} |'


def _order(item):
  """Rows of equal scales stand together; within them, methods by name."""
  method, scales = item[0]
  return SCALES.index(scales), method


def named(text):
  """('name', 'file') from 'name=file', where a file alone is its own name."""
  name, equals, path = text.partition('=')
  return (name, path) if equals else (pathlib.Path(text).stem, text)


def main(arguments=None):
  """Prints the table that the command line asks for."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('directory', nargs='?', help='folder of METHOD-seedN-SCALES.json')
  parser.add_argument('--boundary', nargs='+', type=named, metavar='NAME=FILE',
                      help='instead of a folder: the rows of a table of scores near boundaries')
  parser.add_argument('--clusters', metavar='FOLDER',
                      help='instead: the folder of a table of methods without labels')
  args = parser.parse_args(arguments)
  if sum(map(bool, (args.directory, args.boundary, args.clusters))) != 1:
    parser.error('give either a folder or --boundary NAME=FILE ... or --clusters FOLDER')
  if args.clusters:
    lines = cluster_table(args.clusters)
  else:
    lines = boundary_report.comparison(args.boundary) if args.boundary else table(args.directory)
  print('\n'.join(lines))
  return 0


if __name__ == '__main__':
  run(main)
