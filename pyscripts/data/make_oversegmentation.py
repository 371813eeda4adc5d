"""Makes a mask of region ids of each image from contours.

A second call does what is missing, and again what is of images or contour maps changed since.

From contour maps that any detector has written, `<id>.png` or `<id>.npy`, one for each image:
  python pyscripts/data/make_oversegmentation.py --images VOC2012/JPEGImages \
    --contours VOC2012/hed --output VOC2012/oversegmentation
With the built-in detector, which needs no weights, over four machines (this is the first):
  python pyscripts/data/make_oversegmentation.py --images VOC2012/JPEGImages --contours gradient \
    --output VOC2012/oversegmentation --shard 0/4
With HED, whose published weights are linked from https://github.com/s9xie/hed:
  python pyscripts/data/make_oversegmentation.py --images VOC2012/JPEGImages --contours hed \
    --weights hed_pretrained_bsds.caffemodel --output VOC2012/oversegmentation
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from seg_models.hed_contours import SOURCE, hed_detector  # noqa: E402
from utils.command_line import run  # noqa: E402
from utils.contours import DETECTORS  # noqa: E402
from utils.oriented_watershed import require_higra  # noqa: E402
from utils.oversegmentation import OversegmentationConfig  # noqa: E402
from utils.oversegmentation_folder import Contours, contours_of, make_all, plan  # noqa: E402
from utils.resuming import fingerprint  # noqa: E402

# Messages of a kind; a wrong folder gives one for each image.
_SHOWN = 100


def parse(arguments=None):
  """The command line as an argparse namespace."""
  default = OversegmentationConfig()
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('--images', required=True, metavar='DIR|LIST',
                      help='folder of images, or list file whose first column names them')
  parser.add_argument('--data_dir', default='', help='folder that paths of a list are relative to')
  parser.add_argument('--contours', required=True, metavar='|'.join(['DIR', *DETECTORS, 'hed']),
                      help='folder of contour maps, or a detector')
  parser.add_argument('--weights', metavar='FILE', help='of HED: its caffemodel, or an npz')
  parser.add_argument('--output', required=True, metavar='DIR', help='folder of the masks')
  parser.add_argument('--save_ucm', metavar='DIR',
                      help="write the hierarchies too: <id>.mat with `ucm2`, as BSDS's tools")
  parser.add_argument('--threshold', type=float, default=default.threshold,
                      help='boundaries of at most this strength, 0..1, are removed '
                      '(default: %(default)s)')
  parser.add_argument('--max_regions', type=int, default=default.max_regions,
                      help='the threshold is raised until no more are left (default: %(default)s)')
  parser.add_argument('--min_area', type=int, default=default.min_area,
                      help='smaller regions, in pixels, join a neighbour (default: %(default)s)')
  parser.add_argument('--smoothing', type=float, default=default.smoothing,
                      help='sigma in pixels, of contours (default: %(default)s)')
  parser.add_argument('--bits', type=int, choices=(8, 16), default=default.bits,
                      help='of the masks (default: %(default)s)')
  parser.add_argument('--shard', default='0/1', metavar='I/N',
                      help='do the I-th of N parts, counted from 0 (default: all)')
  parser.add_argument('--workers', type=int, default=0, help='processes (default: one a core)')
  return parser.parse_args(arguments)


def find_contours(name, weights):
  """The `Contours` that --contours and --weights mean; loads a network's weights."""
  if (name == 'hed') == (weights is None):
    raise ValueError(f'--contours hed needs --weights FILE. {SOURCE}' if name == 'hed' else
                     f'--weights {weights}: only --contours hed has any; {name} has none')
  if name != 'hed':
    return contours_of(name)
  detector = hed_detector(weights)
  # TensorFlow uses all cores itself, and takes its memory once.
  return Contours({'contours': name, 'weights': fingerprint(weights)}, detector=detector,
                  parallel=False)


def main(arguments=None):
  """Makes the masks, reports what failed, and returns the exit status: 1 where anything did."""
  args = parse(arguments)
  config = OversegmentationConfig(
      args.threshold, args.max_regions, args.min_area, args.smoothing, args.bits)
  require_higra()
  contours = find_contours(args.contours, args.weights)
  jobs, kept, missing = plan(
      args.images, args.data_dir, contours, args.output, args.save_ucm, args.shard, config)
  regions, failures = make_all(jobs, contours, config, args.workers)
  print(f'{args.output}: {len(regions)} masks written, {kept} there already')
  if regions:
    print(f'regions an image: {min(regions)} to {max(regions)}, '
          f'{sum(regions) / len(regions):.1f} on average')
  report('no contour map of', [f'{image}: neither {path}.npy nor {path}.png'
                               for image, path in missing])
  report('failed:', failures)
  if missing or failures:
    print(f'{len(missing)} contour maps are missing, {len(failures)} images failed; mend them and '
          'repeat the command', file=sys.stderr)
  return int(bool(missing or failures))


def report(title, messages):
  """Prints the first messages to standard error, and how many more there are."""
  for message in messages[:_SHOWN]:
    print(f'{title} {message}', file=sys.stderr)
  if len(messages) > _SHOWN:
    print(f'{title} {len(messages) - _SHOWN} more', file=sys.stderr)


if __name__ == '__main__':
  run(main)
