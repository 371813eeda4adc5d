"""Scores predicted label maps by mean intersection over union; flags are the original's and more.

The images of a list file:
  python pyscripts/benchmark/benchmark_by_mIoU.py --pred_dir snapshots/voc12/results/val/gray/ \
    --data_dir VOC2012/ --data_list VOC2012/lists/val.txt --num_classes 21 --json metrics.json
Whatever is in a folder, each file against the mask of the same name:
  python pyscripts/benchmark/benchmark_by_mIoU.py --pred_dir snapshots/voc12/results/val/gray/ \
    --gt_dir VOC2012/segcls/ --num_classes 21
Also near true boundaries: --boundary. Clusters without names, matched to the classes: --hungarian.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models import evaluation, scoring  # noqa: E402
from seg_models.datasets import dataset_for  # noqa: E402
from utils import confusion_report, files  # noqa: E402
from utils.command_line import run  # noqa: E402


def widths(text):
  """Numbers from 'a,b,c'."""
  return tuple(int(part) for part in text.split(','))


def parse(arguments=None):
  """The command line as an argparse namespace."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('--pred_dir', required=True, help='folder of predictions (gray/)')
  parser.add_argument('--data_list', default='', help='list file with lines `image mask`; each '
                      'listed image has to have a prediction')
  parser.add_argument('--data_dir', default='', help='folder that paths of --data_list are in')
  parser.add_argument('--gt_dir', default='', help='folder of masks; default: those of --data_list')
  parser.add_argument('--string_replace', default=',', metavar='OLD,NEW',
                      help='with --gt_dir: replaced in the paths of masks')
  parser.add_argument('--dataset', help="descriptor with names (seg_models/datasets.py); default: "
                      "VOC's")
  parser.add_argument('--num_classes', type=int, help="default: 21, or the data set's")
  parser.add_argument('--ignore_label', type=int, help="default: 255, or the data set's")
  parser.add_argument('--boundary', nargs='?', const=(1, 3, 5, 9), type=widths, metavar='WIDTHS',
                      help='also mIoU in bands of so many pixels on each side of true boundaries '
                      '(default: 1,3,5,9), and boundary F')
  parser.add_argument('--hungarian', action='store_true', help='predictions are ids of clusters: '
                      'match them to classes one to one, for the most right pixels')
  parser.add_argument('--many_to_one', action='store_true',
                      help='with --hungarian: each cluster to its most frequent class instead')
  parser.add_argument('--num_clusters', type=int, help='with --hungarian; default: as found')
  parser.add_argument('--json', metavar='FILE', help='write all numbers')
  parser.add_argument('--confusion_csv', metavar='FILE', help='write the confusion matrix')
  parser.add_argument('--confusion_png', metavar='FILE', help='draw the confusion matrix')
  parser.add_argument('--output_dir', metavar='DIR',
                      help='write metrics.json, confusion.csv and confusion.png there')
  return parser.parse_args(arguments)


def find_pairs(args, dataset):
  """The pairs to compare and the masks without prediction, by list or by folders."""
  if args.data_list:
    return evaluation.pairs_of_list(
        args.data_list, args.data_dir, args.pred_dir, args.gt_dir, args.string_replace), []
  if not args.gt_dir:
    raise ValueError('which masks? Give --data_list (with --data_dir) or --gt_dir')
  return evaluation.pairs_of_folders(
      args.pred_dir, args.gt_dir, args.string_replace, dataset.mapped_suffix)


def main(arguments=None):
  """Scores, prints, writes what was asked for, and returns the exit status."""
  args = parse(arguments)
  if not args.hungarian and (args.many_to_one or args.num_clusters is not None):
    raise ValueError('--many_to_one and --num_clusters are about clusters: give --hungarian too')
  dataset = dataset_for(args.dataset, args.num_classes, args.ignore_label)
  pairs, unpredicted = find_pairs(args, dataset)
  scores = scoring.score(
      pairs, dataset, args.boundary, args.hungarian, args.many_to_one, args.num_clusters)

  print(f'{len(pairs)} images scored')
  if unpredicted:
    print(f'{len(unpredicted)} masks of {args.gt_dir} have no prediction and are not counted, '
          f'such as {unpredicted[0]}')
  print('\n'.join(scores.lines()))

  folder = args.output_dir and pathlib.Path(args.output_dir)
  report = {'images': len(pairs), 'masks_without_prediction': len(unpredicted), **scores.as_dict()}
  for path in filter(None, (args.json, folder and folder / 'metrics.json')):
    files.write_json(path, report)
  for path in filter(None, (args.confusion_csv, folder and folder / 'confusion.csv')):
    confusion_report.write_csv(path, scores.matrix, dataset.classes)
  for path in filter(None, (args.confusion_png, folder and folder / 'confusion.png')):
    confusion_report.write_picture(path, scores.matrix, dataset.classes)
  return 0


if __name__ == '__main__':
  run(main)
