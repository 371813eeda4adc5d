"""A head that was trained on frozen features, with its trunk, from a checkpoint."""

import dataclasses
import os
import pathlib

import numpy as np
import tensorflow as tf
from PIL import Image

from seg_models.datasets import Dataset, dataset_for
from seg_models.frozen.geometry import whole_cells
from seg_models.frozen.methods import FROZEN_METHODS
from seg_models.frozen.trunk import FrozenTrunk, TrunkConfig, load_trunk
from seg_models.pseudo_classes import pseudo_dataset
from utils import checkpoints, resuming
from utils.cached_rows import key_of
from utils.configuration import from_dict

_STRIPE = 64  # rows that are interpolated at a time


@dataclasses.dataclass(frozen=True)
class Trained:
  """What a checkpoint holds.

  Attributes:
    method: one of `FROZEN_METHODS`, restored.
    state: dict of name -> tensor, what the method keeps beside its variables.
    trunk: `FrozenTrunk`.
    dataset: `Dataset` that it was trained for.
    labelled: whether the linear probe has seen labels.
    resampling: of the images that it was trained on.
    settings: dict of JSON values that says which network this is.
  """
  method: object
  state: dict
  trunk: FrozenTrunk
  dataset: Dataset
  labelled: bool
  resampling: str
  settings: dict

  def probes(self):
    """Name -> function from codes [..., D] to log-probabilities [..., K]; the main one first."""
    method, probes = self.method, {}
    if method.cluster_log_probs is not None:
      probes['clusters'] = lambda code: method.cluster_log_probs(code, self.state)
    if method.linear_log_probs is not None and self.labelled:
      probes['linear'] = method.linear_log_probs
    return probes

  def code(self, image, flip=True):
    """The code of one image, without gradient.

    Args:
      image: uint8 [H, W, 3]; the trunk sees the nearest size of whole cells, for the last ones
        would hang over, and those of the mirror image lie between its own.
      flip: the mean of the image's code and of its mirror image's, mirrored back.

    Returns:
      float32 [h, w, D].
    """
    size = whole_cells(image.shape[:2], self.trunk.stride)
    if size != image.shape[:2]:
      image = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    images = np.stack([image, image[:, ::-1]]) if flip else image[None]
    codes = self.method.codes(self.trunk(images))
    return (codes[0] + codes[1, :, ::-1]) / 2 if flip else codes[0]


def newest_checkpoint(path):
  """The prefix that `path` is, or the newest one in the run's folder that it is.

  Raises:
    FileNotFoundError: there is none.
  """
  if not os.path.isdir(path):
    return path
  newest = checkpoints.latest(path)
  if newest is None:
    raise FileNotFoundError(f'{path} holds no checkpoint: name a run of train_stego.py, '
                            'train_smooseg.py or train_frozen.py, or model.ckpt-N in it')
  return str(newest)


def load_trained(path, trunk_from='', trunk=None):
  """Restores a head and its trunk.

  Args:
    path: prefix of a checkpoint, or a run's folder, whose newest one is taken.
    trunk_from: the file with the trunk's weights, where it is not where it was in training.
    trunk: None, or the trunk of another checkpoint of the same run.

  Returns:
    `Trained`.

  Raises:
    ValueError: the checkpoint is of another kind, or the trunk's file not the one of training.
    FileNotFoundError: one of them is missing.
  """
  path = newest_checkpoint(path)
  archive = checkpoints.open_archive(path)
  metadata = archive.metadata
  if 'trunk' not in metadata:
    raise ValueError(f'{path}: {archive.describe()}, not a head on frozen features (of '
                     f'{", ".join(FROZEN_METHODS)})')
  trunk = trunk or _restored_trunk(path, metadata['trunk'], trunk_from)
  of = metadata['dataset']
  if of['name'] is None and not of['labelled']:
    dataset = pseudo_dataset(of['num_classes'])
  else:
    dataset = dataset_for(of['name'], of['num_classes'], of['ignore_label'])
  method_class = FROZEN_METHODS[metadata['method']]
  method_config = from_dict(method_class.Config, metadata['method_config'])
  head = metadata['head']
  method = method_class(
      method_class.build_head(head['channels'], method_config, head['seed']), dataset,
      method_config, 2, head['seed'])  # a batch that is never made
  for name, variable in method.variables().items():
    variable.assign(archive.read(name))
  state = {name: tf.constant(archive.read(f'state/{name}')) for name in method.initial_state()}
  return Trained(
      method, state, trunk, dataset, of['labelled'], metadata['geometry']['resampling'],
      {'checkpoint': resuming.fingerprint(path), 'method': method_class.name, **trunk.settings})


def _restored_trunk(path, stored, trunk_from):
  """The trunk that the checkpoint at `path` was trained on, of which it holds a description."""
  config = from_dict(TrunkConfig, stored['config'])
  if not config.random_backbone:
    weights = trunk_from or stored['path']
    if not (pathlib.Path(weights).exists() or pathlib.Path(f'{weights}.index').exists()):
      raise FileNotFoundError(f'{weights}: the weights of {stored["model"]["name"]}, on which '
                              f'{path} was trained, are not there: name them by --trunk_from')
    config = dataclasses.replace(config, restore_from=weights)
  trunk = load_trunk(config, stored['precision'])
  if key_of(trunk.settings) != key_of({name: stored[name] for name in trunk.settings}):
    raise ValueError(f'{config.restore_from} holds other weights than the trunk that {path} was '
                     'trained on: name that file by --trunk_from')
  return trunk


def interpolation(length, target):
  """Weights of bilinear interpolation with half-pixel centres: float32 [target, length]."""
  places = (np.arange(target) + 0.5) * (length / target) - 0.5
  places = np.clip(places, 0, length - 1)
  return np.maximum(1 - np.abs(places[:, None] - np.arange(length)), 0).astype(np.float32)


def log_probs_in_stripes(log_probs, code, size):
  """Log-probabilities of an interpolated code, a few rows at a time: an image's take much memory.

  The code is interpolated, not what follows from it (specs/stego.md, section 5).

  Args:
    log_probs: function from codes [..., D] to [..., K].
    code: float32 [h, w, D].
    size: (height, width) of the image, H and W.

  Yields:
    float32 [rows, W, K], from the top down.
  """
  down, across = (interpolation(*lengths) for lengths in zip(code.shape[:2], size, strict=True))
  for begin in range(0, size[0], _STRIPE):
    rows = tf.einsum('ih,hwd->iwd', down[begin:begin + _STRIPE], code)
    yield log_probs(tf.einsum('jw,iwd->ijd', across, rows))


def predict(log_probs, code, size):
  """The most probable cluster or class of each pixel, the first of equals: int32 [H, W].

  Args: as of `log_probs_in_stripes`.
  """
  stripes = log_probs_in_stripes(log_probs, code, size)
  return np.concatenate([tf.argmax(stripe, -1, tf.int32).numpy() for stripe in stripes])
