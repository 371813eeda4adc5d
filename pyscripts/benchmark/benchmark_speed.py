"""Times this project against the plain way of doing the same work, on this machine, in one run.

  python pyscripts/benchmark/benchmark_speed.py [--only NAME] [--json FILE]

Each row runs in a process of its own, in which both ways take turns; the table holds medians, the
plain way's time over ours by the clock and in processor time (which can be read where others use
the machine too), and by how many MB the work makes a process grow. "At best" is that ratio, in
processor time, of the products and exponentials alone that no way can leave out: a target above it
is out of reach in float32 with these kernels. What is measured, and on what, is said in
seg_models/speed.py, the plain way in network/segsort/plain.py.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from utils import command_line, files  # noqa: E402
from utils.benchmarking import markdown  # noqa: E402

NAMES = ('supervised_loss', 'unsupervised_loss', 'clustering', 'knn_1k', 'knn_260k', 'knn_3m',
         'inference_head', 'msc_votes', 'train_step', 'contrast_step', 'stego_step_16',
         'stego_step_32', 'smooseg_step_16', 'smooseg_step_32')


def parse(arguments=None):
  """The command line as an argparse namespace."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('--only', choices=NAMES, help='one row')
  parser.add_argument('--json', metavar='FILE', help='write a list with a dict a row')
  parser.add_argument('--seconds', type=float, default=20.0,
                      help='how long a row goes on at least (default: %(default)s)')
  parser.add_argument('--scale', type=float, default=1.0,
                      help='factor of sides and banks, to try it out (default: %(default)s)')
  parser.add_argument('--in_process', choices=('row', 'plain_peak', 'machine'),
                      help=argparse.SUPPRESS)
  arguments = parser.parse_args(arguments)
  if not 0 < arguments.scale <= 1:
    parser.error(f'--scale {arguments.scale}: must be above 0 and at most 1')
  return arguments


def in_child(what, name, arguments):
  """What `main` does with `--in_process what`, in a fresh process; returns what it wrote."""
  with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, 'result.json')
    subprocess.run(
        [sys.executable, os.path.abspath(__file__), '--in_process', what, '--json', path, '--only',
         name, '--scale', str(arguments.scale), '--seconds', str(arguments.seconds)], check=True)
    return files.read_json(path)


def measure(arguments):
  """What a child process measures."""
  from seg_models import speed_rows  # builds all that is measured

  if arguments.in_process == 'machine':
    return speed_rows.machine_rates()
  if arguments.in_process == 'plain_peak':
    return speed_rows.plain_peak(arguments.only, arguments.scale)
  return speed_rows.measure(arguments.only, arguments.scale, arguments.seconds)


def show(results):
  """The lines of the table, and of what else was measured."""
  def number(value):
    return f'{value:.3g}' if abs(value) < 1000 else f'{value:.0f}'

  def times(ratio):
    return '' if ratio is None else f'{ratio:.3g}x'

  yield from markdown(
      ['row', 'ours, s', 'plain, s', 'ratio', 'of CPU', 'at best', 'target', 'met', 'peak, MB',
       'plain peak, MB'],
      [[each['name'], number(each['seconds']), number(each['plain_seconds']),
        times(each['ratio']), times(each['cpu_ratio']), times(each['cpu_limit']),
        each['target'] or '', {True: 'yes', False: 'no', None: ''}[each['met']],
        f'{each["peak_mb"]:.0f}', f'{each["plain_peak_mb"]:.0f}']
       for each in results])
  yield ''
  for each in results:
    notes = ', '.join(f'{name} {number(value)}' for name, value in each['notes'].items())
    yield f'{each["name"]}: {notes + ", " if notes else ""}load {each["load"]:.1f}'


def main(arguments=None):
  """Measures, prints, writes what was asked for, and returns the exit status."""
  arguments = parse(arguments)
  if arguments.in_process:
    files.write_json(arguments.json, measure(arguments))
    return 0
  rates = in_child('machine', NAMES[0], arguments)
  print(f'{os.cpu_count()} processors, {rates["gflops"]:.0f} GFLOP/s in a product of 2048x2048, '
        f'{rates["gb_per_second"]:.1f} GB/s in an addition', flush=True)
  results = []
  for name in [arguments.only] if arguments.only else NAMES:
    results.append({**in_child('row', name, arguments), **in_child('plain_peak', name, arguments)})
    print(f'{name}: {results[-1]["ratio"]:.1f}x', flush=True)
  print('\n' + '\n'.join(show(results)))
  if arguments.json:
    files.write_json(arguments.json, results)
  return 0


if __name__ == '__main__':
  command_line.run(main)
