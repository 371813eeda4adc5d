"""Explains predictions: draws images with the retrieved segments that gave them their labels.

  python pyscripts/inference/show_neighbours.py --data_dir DIR --data_list DIR/val.txt \
    --save_dir snapshots/demo/val --dataset scenes

--save_dir is that of `inference_segsort.py --save_neighbours`; pictures go to explained/<id>.png.
"""

import argparse
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import tqdm  # noqa: E402

from seg_models.datasets import dataset_for  # noqa: E402
from seg_models.explanation import explanation_sheet  # noqa: E402
from seg_models.image_reader import load_example, read_list  # noqa: E402
from utils.command_line import run  # noqa: E402
from utils.files import read_json  # noqa: E402
from utils.images import read_mask, write_png  # noqa: E402


def main(arguments=None):
  """Parses the command line (or `arguments`), draws, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('--data_dir', default='', help='folder that list and bank are relative to')
  parser.add_argument('--data_list', required=True, help='text file with lines `image [mask]`')
  parser.add_argument('--save_dir', required=True, help='folder with gray/ and neighbours/')
  parser.add_argument('--dataset', help='descriptor with names and palette')
  parser.add_argument('--num_classes', type=int, help='classes without a --dataset')
  parser.add_argument('--count', type=int, default=8, help='images, the first ones (default: 8)')
  parser.add_argument('--rows', type=int, default=3, help='segments of each (default: 3)')
  parser.add_argument('--neighbours', type=int, default=5, help='of each segment (default: 5)')
  args = parser.parse_args(arguments)
  dataset = dataset_for(args.dataset, args.num_classes)
  entries = read_list(
      args.data_list, args.data_dir, need_mask=False, unique_ids=True)[:args.count]
  folder = pathlib.Path(args.save_dir)
  for entry in entries:
    if not (folder / 'neighbours' / f'{entry.id}.json').exists():
      raise FileNotFoundError(f'{folder}/neighbours/{entry.id}.json is missing: run '
                              'inference_segsort.py --save_neighbours first')
  for entry in tqdm.tqdm(entries, unit='image'):
    has_truth = bool(entry.mask) and os.path.exists(entry.mask)
    example = load_example(entry, dataset, need_mask=has_truth)
    path = folder / 'neighbours' / f'{entry.id}.json'
    record = read_json(path)
    if record['classes'] != list(dataset.classes):
      raise ValueError(f'{path} is of the classes {", ".join(record["classes"])}: give the '
                       '--dataset or --num_classes of the inference')
    sheet = explanation_sheet(
        example.image, example.label, read_mask(folder / 'gray' / f'{entry.id}.png'),
        record['segments'], dataset, args.data_dir, rows=args.rows, neighbours=args.neighbours)
    write_png(folder / 'explained' / f'{entry.id}.png', sheet)
  print(f'{len(entries)} pictures in {folder}/explained')
  return 0


if __name__ == '__main__':
  run(main)
