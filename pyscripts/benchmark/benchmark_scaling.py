"""Predicts images/s of training on 1 to 1024 replicas, and holds the prediction to 1, 2, 4 devices.

  python pyscripts/benchmark/benchmark_scaling.py --json scaling.json
  python pyscripts/benchmark/benchmark_scaling.py --step_seconds 0.21 --batch_size 16 \
    --bandwidth 100 --latency 10 --overlap 0

The bytes of every message are counted in the step itself, the time of a step is measured here, or
given (--step_seconds) as measured on the machine that the prediction is for. What is printed first
is what the model assumes. Without GPUs the devices are logical ones, which share this machine's
cores: they show whether the model's sums are right, not that training gets faster.
"""

import argparse
import dataclasses
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import tensorflow as tf  # noqa: E402

from seg_models import scaling_measurement  # noqa: E402
from seg_models.methods import METHODS  # noqa: E402
from utils import scaling, training  # noqa: E402
from utils.command_line import run  # noqa: E402
from utils.files import write_json  # noqa: E402

REPLICAS = [2 ** power for power in range(11)]
CHECKED = (1, 2, 4)


def parse(arguments=None):
  """The command line as an argparse namespace."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  add = parser.add_argument
  add('--method', choices=METHODS, default='segsort', help='default: %(default)s')
  add('--model', default='pspnet_resnet101', help='default: %(default)s')
  add('--width', type=float, help="factor of the backbone's channels (default: 1)")
  add('--blocks', type=lambda text: tuple(map(int, text.split(','))), help="of the ResNet's blocks")
  add('--head_dim', type=int, help='channels inside the head')
  add('--embedding_dim', type=int, help='default: 32')
  add('--batch_size', type=int, default=1, help='images of each replica (default: %(default)s)')
  add('--input_size', type=lambda text: tuple(map(int, text.split(','))), default=(129, 129),
      help='height,width (default: 129,129)')
  add('--steps', type=int, default=5, help='that are timed (default: %(default)s)')
  add('--step_seconds', type=float, help='of one replica by itself, on the machine to predict for')
  add('--bandwidth', type=float, default=100.0, help='of a link, Gbit/s (default: %(default)s)')
  add('--latency', type=float, default=20.0, help='of a message, us (default: %(default)s)')
  add('--overlap', type=float, default=0.0,
      help='share of the backward pass that gradients are sent behind (default: 0, as here)')
  add('--json', metavar='FILE', help='write all numbers there too')
  return parser.parse_args(arguments)


def main(arguments=None):
  """Measures, predicts, prints; returns the exit status."""
  args = parse(arguments)
  link = scaling.Link(args.bandwidth * 1e9 / 8, args.latency * 1e-6, args.overlap)
  training.use_devices(max(CHECKED))
  config = scaling_measurement.model_config_of(
      args.model, args.width, args.blocks, args.head_dim, args.embedding_dim)
  measured = [
      scaling_measurement.measure(
          count, args.method, config, args.input_size, args.batch_size, args.steps)
      for count in CHECKED]
  here = scaling_measurement.step_of(*measured, args.batch_size)
  local = bool(tf.config.list_physical_devices('GPU'))
  # Between devices of one machine messages are copies in its memory.
  shared = scaling.Link(scaling_measurement.copy_bandwidth(), 0.0, 0.0, None if local else 1)
  checks = [(found, scaling.predict(here, shared, found.replicas)) for found in measured]

  step = here
  if args.step_seconds:
    factor = args.step_seconds / here.seconds
    step = dataclasses.replace(
        here, seconds=args.step_seconds, seconds_per_replica=here.seconds_per_replica * factor)
  predictions = [scaling.predict(step, link, count) for count in REPLICAS]
  lines = scaling.assumptions(step, link)
  if args.step_seconds:
    lines.append('where a step takes --step_seconds, comparisons with further prototypes take as '
                 'many times less (or more) than here as the step does')
  print(f'{args.method}, {config.name}, {args.input_size[0]}x{args.input_size[1]}. Assumed:',
        *lines, sep='\n- ')
  print(f'\n{"replicas":>8} {"images/s":>12} {"efficiency":>10} {"step, s":>9} {"sending, s":>10}')
  for found in predictions:
    print(f'{found.replicas:8d} {found.images_per_second:12.2f} {found.efficiency:10.1%} '
          f'{found.step_seconds:9.4f} {found.communication_seconds:10.4f}')
  print('\nChecked here, on ' + ('GPUs' if local else 'logical devices that share the cores') + ':')
  print(f'{"replicas":>8} {"measured, images/s":>18} {"predicted, images/s":>19}')
  rates = [found.replicas * args.batch_size / found.seconds for found, _ in checks]
  for rate, (found, predicted) in zip(rates, checks, strict=True):
    print(f'{found.replicas:8d} {rate:18.3f} {predicted.images_per_second:19.3f}')
  if args.json:
    write_json(args.json, {
        'method': args.method, 'model': config.name, 'assumptions': lines,
        'predictions': [dataclasses.asdict(found) for found in predictions],
        'checks': [{'replicas': found.replicas, 'measured_images_per_second': rate,
                    'predicted_images_per_second': predicted.images_per_second}
                   for rate, (found, predicted) in zip(rates, checks, strict=True)]})
  return 0


if __name__ == '__main__':
  run(main)
