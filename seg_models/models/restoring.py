"""`--restore_from`: which conventions a file was trained with, and its weights onto a network."""

import dataclasses
import os
import re

from network.common import hrnet, pretrained, pretrained_hrnet, pretrained_vit
from network.common import vision_transformer as vit
from seg_models.models.registry import BACKBONES, ModelConfig, is_head, variable_names
from utils import checkpoints
from utils.configuration import from_dict

# What a training checkpoint holds beside the network, in ours and in the original's.
_OF_TRAINING = re.compile(
    r'.*/(Momentum|Adam|Adam_1)$|^adam/|^state/|^loss_scale/|^memory_(labels_)?\d+$|'
    r'^global_step$|^mean_rgb$')
# Arrays of a ResNet's trunk and of a transformer's, that of DINOv2 with registers for one.
_OF_TRUNK = re.compile(r'.*/bottleneck_v1/|blocks\.\d+\.|reg(ister)?_tokens?$')
# Flags of fields that are named otherwise on the command line.
_FLAGS = {'name': 'model', 'output_dim': 'embedding_dim or --num_classes'}
# Fields that belong to the head, which a network need not take from the file.
_HEAD_FIELDS = (
    'name', 'output_dim', 'head_dim', 'head_batch_norm_decay', 'projection', 'projection_dim')


def where_weights_are(backbone):
  """Where the weights of a transformer are to be had, and how they become a file that is read."""
  source, timm = pretrained_vit.SOURCES[backbone], pretrained_vit.TIMM[backbone]
  return (f'the weights of {backbone} are {source}, of which python pyscripts/data/'
          f'convert_weights.py {source.rpartition("/")[2]} {backbone}.safetensors makes a file '
          f'that is read; model.safetensors of huggingface.co/timm/{timm} is one')


def config_for(path, config, explicit=(), *, restore_head=True):
  """The configuration that a network must have for the weights in a file.

  Args:
    path: what `--restore_from` names.
    config: `ModelConfig` from flags.
    explicit: names of fields that the user gave.
    restore_head: False where the file's head is not used (`--not_restore_classifier`): explicit
      fields may then ask for another head, width of it or output_dim.

  Returns:
    `ModelConfig`: the file's own where it carries one (a checkpoint of this project); otherwise
    `config` with the batch norm and padding that files of its kind were trained with.

  Raises:
    ValueError: an explicit field contradicts the file's own configuration, or the file is neither
      a checkpoint nor a Keras weight file.
    FileNotFoundError: it is missing.
  """
  backbone = config.parts()[1]
  if backbone in pretrained_vit.SOURCES and not (
      os.path.exists(path) or os.path.exists(f'{path}.index')):
    raise FileNotFoundError(f'{path}: no such weight file; {where_weights_are(backbone)}')
  archive = checkpoints.open_archive(path)
  if archive.kind == 'segsort':
    return _stored_config(archive, config, explicit, restore_head)
  if archive.kind == 'slim':
    return dataclasses.replace(config, batch_norm_epsilon=1e-5, pool_padding='same')
  if archive.kind == 'keras' and pretrained.is_keras_resnet(archive.names()):
    return dataclasses.replace(
        config, batch_norm_epsilon=pretrained.KERAS_RESNET_EPSILON, pool_padding='explicit')
  if archive.kind == 'arrays' and pretrained_hrnet.is_hrnet(archive.names()):
    return dataclasses.replace(config, batch_norm_epsilon=pretrained_hrnet.EPSILON)
  return config


def _stored_config(archive, config, explicit, restore_head):
  if 'trunk' in archive.metadata:
    raise ValueError(f'{archive.path} is a head on frozen features, without its trunk, whose '
                     f'weights are {archive.metadata["trunk"]["path"]}')
  if 'model' not in archive.metadata:
    raise ValueError(f'{archive.path}: {archive.describe()}, but its description of the network '
                     'is missing: it was not written by this project')
  stored = from_dict(ModelConfig, archive.metadata['model'])
  if not restore_head:
    head = {name: getattr(config, name) for name in _HEAD_FIELDS if name in explicit}
    if 'name' in head:
      (new, wanted), (old, backbone) = config.parts(), stored.parts()
      if backbone != wanted:
        raise ValueError(f'{archive.path}: {archive.describe()}; its backbone is {backbone}, that '
                         f'of --model {config.name} is {wanted}')
      if new != old:
        head.setdefault('head_dim', None)
      if new == 'features':
        head.update(output_dim=None, projection=None, projection_dim=None)  # the trunk's own
    stored = dataclasses.replace(stored, **head)
  wrong = [f'--{_FLAGS.get(name, name)} {getattr(config, name)} where the checkpoint has '
           f'{getattr(stored, name)}'
           for name in explicit if getattr(config, name) != getattr(stored, name)]
  if wrong:
    raise ValueError(f'{archive.path}: {archive.describe()}; {"; ".join(wrong)}: leave the flag '
                     'out, or train another head on its trunk (--not_restore_classifier)')
  return stored


def restore_model(model, path, *, restore_head=True):
  """Puts the weights of a file onto a network.

  Args:
    model: from `build_model`.
    path: a checkpoint or weight file.
    restore_head: False leaves the head as it was initialised (`--not_restore_classifier`).

  Returns:
    `network.common.pretrained.Report`.

  Raises:
    ValueError: the file is of another network; it says what the file looks like. The network is
      as it was.
    OSError: there is no such file, or it is damaged.
  """
  archive = checkpoints.open_archive(path)
  variables = variable_names(model)
  head = [name for name in variables if is_head(name)]
  arrays, names = _source(archive, variables)
  there = set(arrays.names())
  trunk = [name for name in variables if not is_head(name)]
  missing = [name for name in trunk if (names(name) if names else name) not in there]
  try:
    if missing:
      raise ValueError(
          f'{len(missing)} of its {len(trunk)} variables of the trunk are missing there, '
          f'{missing[0]} for one{_other_stem(missing[0], there)}')
    surplus = _surplus(there - {names(name) if names else name for name in variables})
    if surplus:
      raise ValueError(f'it has {len(surplus)} arrays of a deeper or another trunk, {surplus[0]} '
                       'for one')
    report = pretrained.assign(variables, arrays, names, () if restore_head else head)
  except ValueError as error:
    raise ValueError(
        f'{path}: {archive.describe()}, not weights of {model.name}: {error}') from error
  of_training = tuple(name for name in report.skipped if _OF_TRAINING.match(name))
  return dataclasses.replace(
      report, training=of_training,
      skipped=tuple(name for name in report.skipped if name not in set(of_training)))


def _source(archive, variables):
  """The arrays of a file, and the table from a variable's name to its array's (None: the same)."""
  scope = next(iter(variables)).split('/')[0]
  if archive.kind == 'arrays' and scope in hrnet.CHANNELS:
    return pretrained_hrnet.PublicHRNet(archive), pretrained_hrnet.public_name
  if archive.kind == 'arrays' and scope in vit.SHAPES:
    return pretrained_vit.PublicTransformer(archive), pretrained_vit.public_name
  if archive.kind != 'keras':
    return archive, None
  if scope == BACKBONES['mobilenet_v2']:
    return archive, pretrained.keras_mobilenet_v2_name
  if pretrained.is_keras_resnet(archive.names()):
    return pretrained.KerasResNet(archive, scope), None
  return archive, None


def _other_stem(missing, there):
  """What to do where the file is of the same ResNet with the other stem; '' otherwise."""
  scope = missing.split('/')[0]
  if missing.startswith(f'{scope}/conv1_') and f'{scope}/conv1/weights' in there:
    return (': the file has the ordinary stem, one 7x7 convolution, and the network the deep one; '
            'leave `_deep` out of --model')
  if missing.startswith(f'{scope}/conv1/') and f'{scope}/conv1_1/weights' in there:
    return (': the file has the deep stem, three 3x3 convolutions, and the network the ordinary '
            'one; add `_deep` to --model')
  return ''


def _surplus(names):
  """Those of the unused arrays that belong to a trunk: the file is of a deeper network."""
  return sorted(
      name for name in names if _OF_TRUNK.match(name) and not _OF_TRAINING.match(name))
