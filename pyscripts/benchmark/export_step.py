"""Writes a method's training step as StableHLO, with its inputs, for machines without TensorFlow.

  python pyscripts/benchmark/export_step.py --method segsort --model pspnet_resnet101 \
      --batch_size 8 --input_size 336,336 --precision mixed_bfloat16 --random_weights \
      --save_dir DIR --check

DIR gets step.mlir.gz, the program; inputs.npz, its arguments as arg0, arg1, ...; and step.json,
which names arguments and results and says which result is an argument of the next step. JAX's
runtime compiles and runs the text on any of its platforms. All flags of the training scripts are
taken; images are those of --data_list, or drawn scenes without one.
"""

import argparse
import dataclasses
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models import exporting, training_setup  # noqa: E402
from seg_models.augmentation import AugmentationConfig  # noqa: E402
from seg_models.datasets import dataset_for  # noqa: E402
from seg_models.methods import METHODS  # noqa: E402
from seg_models.scene_batches import scene_batch  # noqa: E402
from utils import command_line, run_folder, training  # noqa: E402
from utils.configuration import add_arguments, from_arguments, option  # noqa: E402
from utils.float32 import exact_float32  # noqa: E402


@dataclasses.dataclass(frozen=True)
class ExportConfig:
  """What is written, and whether it is tried out."""
  save_dir: str = option('', 'folder for the files')
  random_weights: bool = option(
      False, 'leave kernels out of inputs.npz, for what runs the program to draw')
  tf32: bool = option(
      False, 'let float32 convolutions and products be TF32 on NVIDIA GPUs: faster, less exact')
  check: bool = option(
      False, 'run the program here too, on the CPU, and compare it with the step as TensorFlow '
      'compiles it itself (or as --no-jit_compile says: its other rounding may cluster otherwise)')


def parse(arguments=None):
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False, add_help=False)
  parser.add_argument('--method', choices=METHODS, default='segsort', help='default: segsort')
  method = METHODS[parser.parse_known_args(arguments)[0].method]
  parser.add_argument('-h', '--help', action='help')
  classes = (ExportConfig, training_setup.DataConfig, training_setup.NetworkConfig,
             AugmentationConfig, training.TrainingConfig, method.Config)
  add_arguments(parser, *classes)
  namespace = parser.parse_args(arguments)
  return method, [from_arguments(cls, namespace) for cls in classes]


def main(arguments=None):
  """Parses the command line (or `arguments`), exports, and returns the exit status."""
  method, (export, data, network, augmentation, loop, options) = parse(arguments)
  if not export.save_dir:
    raise ValueError('--save_dir is missing: name the folder for the program')
  exact_float32(not export.tf32)
  if loop.jit_compile is None:
    loop = dataclasses.replace(loop, jit_compile=True)
  dataset = dataset_for(data.dataset, data.num_classes, data.ignore_label)
  if data.data_list:
    entries = training_setup.find_entries(data, method, options)
    batch = next(training_setup.make_batches(
        entries, dataset, augmentation, loop, method, options))
  else:
    batch = scene_batch(0, loop.batch_size, augmentation, dataset, loop.seed)
  step = training_setup.start_step(network, loop, dataset, method, options)
  program = exporting.export_step(step, batch, loop.seed)
  settings = {'method': method.name, 'environment': run_folder.environment()}
  for part in (export, data, network, augmentation, loop, options):
    settings.update(dataclasses.asdict(part))
  exporting.save_program(program, export.save_dir, settings, export.random_weights)
  print(f'{export.save_dir}: {len(program.arguments)} arguments, {len(program.results)} results, '
        f'{len(program.text) / 1e6:.1f} MB of text')
  return report(*exporting.check_program(program, step, batch)) if export.check else 0


def report(metrics, error):
  """Prints how far the program is from the step; returns the status."""
  for index, values in enumerate(metrics):
    for name, (expected, found) in values.items():
      print(f'step {index} {name:20} {expected:12.6g} of the step, {found:12.6g} of the program')
  expected, found = metrics[0]['loss']
  wrong = not (abs(found - expected) <= 1e-3 * abs(expected) and error <= 1e-2)
  print(f'largest difference of a variable after the first step: {error:.1e} of its scale'
        + (': OUT OF TOLERANCE (1e-3 of the loss, 1e-2 of a variable)' if wrong else ''))
  return int(wrong)


if __name__ == '__main__':
  command_line.run(main)
