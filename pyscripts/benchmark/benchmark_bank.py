"""Measures what --bank_storage and --search ivf lose, and what time and memory they take.

A bank's features in every storage and with an index, searched with the prototypes of another bank,
that of images which are not in the first; recall and agreement are relative to exact search in
float32. --size repeats the bank's prototypes with noise:
  python pyscripts/benchmark/benchmark_bank.py --prototype_dir snapshots/voc12/results/train \
    --queries_dir snapshots/voc12/results/val_prototypes --size 3000000 --json bank.json
"""

import argparse
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import numpy as np  # noqa: E402

from network.segsort.compression import decompress  # noqa: E402
from seg_models import bank as banks  # noqa: E402
from seg_models import bank_benchmark  # noqa: E402
from utils import files  # noqa: E402
from utils.command_line import run  # noqa: E402


def parse(arguments=None):
  """The command line as an argparse namespace."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  add = parser.add_argument
  add('--prototype_dir', required=True, help='folder of the bank')
  add('--queries_dir', required=True, help='folder of the bank whose prototypes are looked up')
  add('--size', type=int, help='prototypes; default: as many as there are')
  add('--noise', type=float, default=0.1, help='length of what added prototypes are moved by '
      '(default: %(default)s)')
  add('--queries', type=int, default=2000, help='prototypes that are looked up for the recall, '
      'drawn from those of --queries_dir (default: %(default)s)')
  add('--at_once', type=int, nargs='+', default=[25, 400], help='numbers of queries that are timed '
      '(default: 25 400)')
  add('--k_in_nearest_neighbors', type=int, default=15, help='default: %(default)s')
  add('--index_recall', type=float, default=0.99, help='see convert_bank.py')
  add('--folder', help='where the banks are written meanwhile; default: the system\'s')
  add('--json', metavar='FILE', help='write the table as a list of rows')
  return parser.parse_args(arguments)


def measure(args, folder):
  """Prints the rows of the table and returns them."""
  bank, others = banks.load_bank(args.prototype_dir), banks.load_bank(args.queries_dir)
  if bank.features.dtype != np.float32 or bank.dim != others.dim:
    raise ValueError(f'--prototype_dir {args.prototype_dir} is {bank.features.dtype} of '
                     f'{bank.dim} dimensions: expected float32 of {others.dim}, as the queries')
  if args.size:
    bank_benchmark.enlarge(bank, args.size, args.noise, folder / 'enlarged')
    bank = banks.load_bank(folder / 'enlarged')
  drawn = np.random.default_rng(0).permutation(len(others))[:args.queries]
  print(f'{len(bank)} prototypes, {len(drawn)} queries, k = {args.k_in_nearest_neighbors}')
  variants = bank_benchmark.write_variants(
      bank, folder, args.k_in_nearest_neighbors, args.index_recall)
  rows = []
  for row in bank_benchmark.compare(
      variants, decompress(others.features[drawn]).numpy(), others.labels[drawn],
      args.k_in_nearest_neighbors, [number for number in args.at_once if number <= len(drawn)]):
    rows.append({**row, 'prototypes': len(bank)})
    print(f'{row["name"]:12} bank {row["bank_mb"]:7.1f} MB, peak {row["peak_mb"]:7.1f} MB, ' +
          ', '.join(f'{seconds:.4f} s ({row["cpu_seconds"][number]:.4f} s of CPU) for {number}'
                    for number, seconds in row['seconds'].items()) +
          f'; recall {row["recall"]:.4f}, agreement {row["agreement"]:.4f}, accuracy '
          f'{row["accuracy"]:.4f}' + f' ({row["making"]})' * bool(row['making']), flush=True)
  return rows


def main(arguments=None):
  """Measures, prints, writes what was asked for, and returns the exit status."""
  args = parse(arguments)
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # of the processes that are begun
  with tempfile.TemporaryDirectory(dir=args.folder) as folder:
    rows = measure(args, pathlib.Path(folder))
  if args.json:
    files.write_json(args.json, rows)
  return 0


if __name__ == '__main__':
  run(main)
