"""`--restore_from`: which conventions a file was trained with, and its weights onto a network."""

import dataclasses
import re

from network.common import pretrained
from seg_models.models import ModelConfig, is_head, variable_names
from utils import checkpoints
from utils.configuration import from_dict

# What a training checkpoint holds beside the network, in ours and in the original's.
_OF_TRAINING = re.compile(
    r'.*/Momentum$|^state/|^loss_scale/|^memory_(labels_)?\d+$|^global_step$|^mean_rgb$')


def config_for(path, config, explicit=()):
  """The configuration that a network must have for the weights in a file.

  Args:
    path: what `--restore_from` names.
    config: `ModelConfig` from flags.
    explicit: names of fields that the user gave.

  Returns:
    `ModelConfig`: the file's own where it carries one (a checkpoint of this project); otherwise
    `config` with the batch norm and padding that files of its kind were trained with.

  Raises:
    ValueError: the file is of another network; FileNotFoundError: it is missing.
  """
  archive = checkpoints.open_archive(path)
  if archive.kind == 'segsort':
    stored = from_dict(ModelConfig, archive.metadata['model'])
    wrong = [f'--{name} {getattr(config, name)} where the checkpoint has {getattr(stored, name)}'
             for name in explicit if getattr(config, name) != getattr(stored, name)]
    if wrong:
      raise ValueError(f'{path}: {archive.describe()}; {"; ".join(wrong)}: leave the flag out')
    return stored
  if archive.kind == 'slim':
    return dataclasses.replace(config, batch_norm_epsilon=1e-5, pool_padding='same')
  return config


def restore_model(model, path, *, restore_head=True):
  """Puts the weights of a file onto a network.

  Args:
    model: from `build_model`.
    path: a checkpoint or weight file.
    restore_head: False leaves the head as it was initialised (`--not_restore_classifier`).

  Returns:
    `network.common.pretrained.Report`.

  Raises:
    ValueError: the file is of another network; it says what the file looks like.
    FileNotFoundError: there is no such file.
  """
  archive = checkpoints.open_archive(path)
  variables = variable_names(model)
  head = [name for name in variables if is_head(name)]
  names = None
  if archive.kind == 'keras':
    names = pretrained.keras_mobilenet_v2_name
  try:
    report = pretrained.assign(variables, archive, names, () if restore_head else head)
  except ValueError as error:
    raise ValueError(
        f'{path}: {archive.describe()}, not weights of {model.name}: {error}') from error
  missing_trunk = [name for name in report.missing if name not in set(head)]
  if missing_trunk:
    raise ValueError(
        f'{path}: {archive.describe()}, not weights of {model.name}: {len(missing_trunk)} of its '
        f'variables are missing there, {missing_trunk[0]} for one')
  skipped = tuple(name for name in report.skipped if not _OF_TRAINING.match(name))
  return dataclasses.replace(report, skipped=skipped)
