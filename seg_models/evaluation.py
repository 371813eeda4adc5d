"""Predictions on disk against their masks."""

import dataclasses
import os
import pathlib

from seg_models.image_reader import read_list
from seg_models.label_checks import check_labels, check_sizes
from utils import images
from utils.background import map_ahead


@dataclasses.dataclass(frozen=True)
class Pair:
  """The paths of one prediction and of the mask that it is compared with."""
  prediction: str
  truth: str


def pairs_of_list(data_list, data_dir, pred_dir, gt_dir='', string_replace=','):
  """One pair for each line of a list; the prediction is `<pred_dir>/<image's name>.png`.

  Args:
    data_list: list file; its images need not exist.
    data_dir: folder that its paths are relative to.
    pred_dir: folder of predictions.
    gt_dir: '' for the masks that the list names, or the folder with `<image's name>.png`.
    string_replace: with `gt_dir`, see `pairs_of_folders`.

  Returns:
    The pairs, in the list's order.

  Raises:
    FileNotFoundError: masks or predictions are missing; all of them are named.
    ValueError: see `seg_models.image_reader.read_list`.
  """
  entries = read_list(
      data_list, data_dir, need_image=False, need_mask=not gt_dir, unique_ids=True)
  old, new = _parts(string_replace)
  pairs = []
  for entry in entries:
    name = f'{entry.id}.png'
    truth = _replaced(os.path.join(gt_dir, name), old, new) if gt_dir else entry.mask
    pairs.append(Pair(os.path.join(pred_dir, name), truth))
  _check_masks(pairs)
  missing = [pair.prediction for pair in pairs if not os.path.isfile(pair.prediction)]
  _fail_on(missing, f'{data_list} lists {len(pairs)} images, of which {len(missing)} have no '
           'prediction; did inference finish, and is --pred_dir its folder gray/?')
  return pairs


def pairs_of_folders(pred_dir, gt_dir, string_replace=',', suffix=''):
  """One pair for each PNG in or below `pred_dir`; as in the original, the predictions decide.

  Args:
    pred_dir: folder of predictions.
    gt_dir: folder of masks, of the same structure and names.
    string_replace: 'a,b': in the path of the mask every a becomes b.
    suffix: what the names of masks end with, beside other files; '' if there are no others.

  Returns:
    The pairs, sorted, and the sorted paths of masks that have no prediction.

  Raises:
    FileNotFoundError: a folder is missing, there is no prediction, or some have no mask; all of
      these are named.
    ValueError: `string_replace` is not of two parts.
  """
  old, new = _parts(string_replace)
  for flag, folder in (('pred_dir', pred_dir), ('gt_dir', gt_dir)):
    if not os.path.isdir(folder):
      raise FileNotFoundError(f'--{flag} {folder!r}: there is no such folder')

  predictions = sorted(pathlib.Path(pred_dir).rglob('*.png'))
  pairs = [Pair(str(path), _replaced(os.path.join(gt_dir, path.relative_to(pred_dir)), old, new))
           for path in predictions]
  if not pairs:
    raise FileNotFoundError(f'--pred_dir {pred_dir}: there is no PNG in it or below')
  _check_masks(pairs)
  known = {os.path.realpath(pair.truth) for pair in pairs}
  unpredicted = [str(path) for path in sorted(pathlib.Path(gt_dir).rglob(f'*{suffix or ".png"}'))
                 if os.path.realpath(path) not in known]
  return pairs, unpredicted


def _parts(string_replace):
  old, comma, new = string_replace.partition(',')
  if not comma or ',' in new or new and not old:
    raise ValueError(f'--string_replace {string_replace!r}: expected OLD,NEW with one comma')
  return old, new


def _replaced(path, old, new):
  return path.replace(old, new) if old else path


def _check_masks(pairs):
  missing = [f'{pair.truth} (for {pair.prediction})' for pair in pairs
             if not os.path.isfile(pair.truth)]
  _fail_on(missing, f'{len(missing)} of {len(pairs)} predictions have no mask; are --gt_dir and '
           '--string_replace right?')


def _fail_on(missing, message, shown=100):
  if missing:
    more = [f'... and {len(missing) - shown} more'] * (len(missing) > shown)
    raise FileNotFoundError('\n  '.join([message, *missing[:shown], *more]))


def evaluate(pairs, dataset, *metrics, relabel=None):
  """Reads every pair and hands it to all metrics.

  Args:
    pairs: list of `Pair`.
    dataset: `seg_models.datasets.Dataset`.
    *metrics: objects with `update(truth, prediction)`, both integer [height, width].
    relabel: None, or a function from an image's prediction as stored to what is scored.

  Raises:
    ValueError: a file cannot be read, the sizes of a pair differ, a mask holds labels that the data
      set does not have, or a metric refuses the pair; names the files.
  """
  def read(pair):
    truth = dataset.from_file(images.read_mask(pair.truth), pair.truth)
    check_labels(truth, dataset, pair.truth)
    prediction = images.read_mask(pair.prediction)
    check_sizes(truth, prediction, pair.truth, pair.prediction)
    return pair, truth, relabel(prediction) if relabel else prediction

  for pair, truth, prediction in map_ahead(read, pairs):
    for metric in metrics:
      try:
        metric.update(truth, prediction)
      except ValueError as error:
        raise ValueError(f'{pair.prediction} against {pair.truth}: {error}') from error
