"""A trunk that is never trained: images in, feature maps out."""

import dataclasses

import numpy as np
import tensorflow as tf

from network.common import vision_transformer as vit
from network.common.preprocessing import MEAN_RGB
from seg_models.models import ModelConfig, build_model, output_stride_of
from seg_models.models.registry import BACKBONES
from seg_models.models.restoring import config_for, restore_model
from seg_models.training_setup import require_weights
from utils import resuming
from utils.configuration import option


@dataclasses.dataclass(frozen=True)
class TrunkConfig:
  """Which trunk, and where its weights come from."""
  backbone: str | None = option(
      None, f'the trunk whose features are used, one of {", ".join(BACKBONES)}; or a whole network '
      '(HEAD_BACKBONE, seg_models/models), whose embeddings, or logits, then are the features')
  restore_from: str = option('', 'file with its weights')
  random_backbone: bool = option(
      False, 'a trunk as initialised, for trying things out; no result is worth anything')
  output_stride: int | None = option(
      None, 'image pixels per cell of its features; default: 8, or what the trunk has')


class FrozenTrunk:
  """A network without a head, in inference.

  Codes are interpolated as those of a transformer, whose cell i lies in the middle of pixels s * i
  to s * (i + 1). That of the convolutional networks here lies on pixel s * i: they are shown the
  image moved by half a cell, with as much padding behind it.

  Args:
    model: keras.Model [B, H, W, 3] -> [B, h, w, C].
    settings: dict of JSON values: which network it is, whose weights it has, and `shift`, by how
      many pixels its images are moved up and left.
  """

  def __init__(self, model, settings):
    self.model = model
    self.settings = settings
    shift = settings['shift']
    ahead = [[0, 0], [0, shift], [0, shift], [0, 0]]
    self._run = tf.function(
        lambda images: model(tf.pad(images[:, shift:, shift:], ahead), training=False),
        autograph=False,
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])

  @property
  def channels(self):
    return self.model.output_shape[-1]

  @property
  def stride(self):
    """Pixels of an image per cell of its features."""
    return output_stride_of(ModelConfig(**self.settings['model']))

  def __call__(self, images):
    """Features of images, without gradient.

    Args:
      images: uint8 [B, H, W, 3], RGB.

    Returns:
      float32 [B, h, w, C].
    """
    return tf.stop_gradient(self._run(np.asarray(images, np.float32) - np.float32(MEAN_RGB)))


def trunk_settings(config, precision='float32'):
  """Which trunk a configuration names, by looking at its file alone: TensorFlow is not started.

  Args:
    config, precision: see `load_trunk`.

  Returns:
    dict of JSON values, the `FrozenTrunk.settings`.

  Raises:
    What `load_trunk` does where the configuration is wrong or its file missing.
  """
  if not config.backbone:
    raise ValueError(f'--backbone is missing: one of {", ".join(BACKBONES)}')
  whole = config.backbone not in BACKBONES
  name = config.backbone if whole else f'features_{config.backbone}'
  given = {'name': name, 'output_stride': config.output_stride}
  given = {name: value for name, value in given.items() if value is not None}
  model_config = ModelConfig(**given)
  if config.restore_from and config.random_backbone:
    raise ValueError('--random_backbone goes without --restore_from: leave one of them out')
  if not config.restore_from and not config.random_backbone:
    require_weights(model_config)
    raise ValueError(f'--restore_from is missing: the file with the weights of {config.backbone} '
                     '(--random_backbone goes without, for tests)')
  weights = 'random'
  if not config.random_backbone:
    model_config = config_for(
        config.restore_from, model_config, tuple(given), restore_head=whole)
    weights = resuming.fingerprint(config.restore_from)
  shift = 0 if model_config.parts()[1] in vit.SHAPES else output_stride_of(model_config) // 2
  return {'model': dataclasses.asdict(model_config), 'weights': weights, 'precision': precision,
          'shift': shift}


def load_trunk(config, precision='float32', settings=None):
  """Builds a trunk and restores it.

  Args:
    config: `TrunkConfig`.
    precision: of its convolutions or attention, see `seg_models.models.build_model`.
    settings: what `trunk_settings` has returned for these, if that is known: it reads the file.

  Returns:
    `FrozenTrunk`.

  Raises:
    ValueError: no trunk or no weights are named, or the file is of another network.
    FileNotFoundError: there is no such file.
  """
  settings = settings or trunk_settings(config, precision)
  model = build_model(ModelConfig(**settings['model']), precision=precision)
  if not config.random_backbone:
    print(restore_model(model, config.restore_from).summary())
  model.trainable = False
  return FrozenTrunk(model, settings)
