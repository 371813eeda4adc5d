"""Scores oversegmentations against human segmentations in the layout of BSDS.

Hierarchies at 99 thresholds, and the masks that were cut from them:
  python pyscripts/data/make_oversegmentation.py --images BSDS/images --contours BSDS/contours \
    --output snapshots/bsds/masks --save_ucm snapshots/bsds/ucm
  python pyscripts/benchmark/benchmark_oversegmentation.py --ground_truth BSDS/groundTruth \
    --ucm snapshots/bsds/ucm --masks snapshots/bsds/masks --json snapshots/bsds/scores.json
"""

import argparse
import functools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from utils import files  # noqa: E402
from utils import oversegmentation_benchmark as benchmark  # noqa: E402
from utils.background import map_processes  # noqa: E402
from utils.command_line import run  # noqa: E402


def parse(arguments=None):
  """The command line as an argparse namespace."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('--ground_truth', required=True, metavar='DIR', help='<id>.mat of BSDS; all '
                      'of them are scored')
  parser.add_argument('--ucm', metavar='DIR', help='hierarchies: <id>.mat with `ucm2`, or <id>.npy')
  parser.add_argument('--masks', metavar='DIR', help='segmentations: <id>.png')
  parser.add_argument('--json', metavar='FILE', help='write all numbers, each image\'s too')
  parser.add_argument('--thresholds', type=int, default=99, help='of --ucm, evenly between 0 and 1 '
                      '(default: %(default)s)')
  parser.add_argument('--workers', type=int, default=0, help='processes (default: one a core)')
  return parser.parse_args(arguments)


def show(report, per_image):
  """The lines of a report; `per_image` are the columns (title, function of an image's dict)."""
  def f(values):
    return (f'precision {values["precision"]:.3f}, recall {values["recall"]:.3f}, '
            f'F {values["f"]:.3f}')

  width = max(map(len, report['per_image']))
  yield f'{"image":{width}}  ' + '  '.join(title for title, _ in per_image)
  for name, each in report['per_image'].items():
    yield f'{name:{width}}  ' + '  '.join(
        f'{value(each):{len(title)}.3f}' for title, value in per_image)
  yield f'{report["images"]} images'
  for key in ('regions', 'covering', 'rand_index', 'variation_of_information'):
    value = report.get(key)
    if isinstance(value, dict):
      yield f'{key}: ' + ', '.join(f'{name} {number:.3f}' for name, number in value.items())
    elif value is not None:
      yield f'{key}: {value:.3f}'
  boundary = report['boundary']
  if 'ods' in boundary:
    yield f'boundary, ods (threshold {boundary["ods_threshold"]:.2f}): {f(boundary["ods"])}'
    yield f'boundary, ois: {f(boundary["ois"])}'
  else:
    yield f'boundary: {f(boundary)}'


HIERARCHY_COLUMNS = [
    ('covering ods', lambda each: each['covering_ods']),
    ('covering ois', lambda each: each['covering_ois']),
    ('F ods', lambda each: each['boundary_ods']['f']),
    ('F ois', lambda each: each['boundary_ois']['f'])]
MASK_COLUMNS = [('covering', lambda each: each['covering']),
                ('boundary F', lambda each: each['boundary']['f'])]


def main(arguments=None):
  """Scores, prints, writes what was asked for, and returns the exit status."""
  args = parse(arguments)
  if not (args.ucm or args.masks):
    raise ValueError('what is to be scored? Give --ucm, --masks or both')
  thresholds = benchmark.thresholds_of(args.thresholds)
  report = {}
  for kind, folder, score, summarize, columns in (
      ('ucm', args.ucm, functools.partial(benchmark.score_ucm_file, thresholds=thresholds),
       functools.partial(benchmark.summarize_hierarchies, thresholds=thresholds),
       HIERARCHY_COLUMNS),
      ('masks', args.masks, benchmark.score_mask_file, benchmark.summarize_masks, MASK_COLUMNS)):
    if folder:
      pairs = benchmark.find_pairs(args.ground_truth, folder, kind)
      scores = map_processes(score, list(pairs.values()), args.workers)
      report[kind] = summarize(dict(zip(pairs, scores, strict=True)))
      print(f'{folder}:')
      print('\n'.join(show(report[kind], columns)))
  if args.json:
    files.write_json(args.json, report)
  return 0


if __name__ == '__main__':
  run(main)
