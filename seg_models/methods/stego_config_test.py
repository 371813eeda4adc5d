import dataclasses

import pytest

from seg_models.datasets import DATASETS
from seg_models.methods.stego_config import DEFAULTS, PRESETS, StegoConfig
from utils.configuration import from_arguments
from utils.training import TrainingConfig


def test_defaults_are_the_small_coco_run():
  """Issue 12 of the original: not the active block of the file that it ships."""
  preset = PRESETS['coco_stuff27_vits']
  fields = {field.name for field in dataclasses.fields(StegoConfig)}
  settings = {name: value for name, value in preset.items() if name in fields}
  assert StegoConfig(**settings) == StegoConfig(cluster_start='random')
  assert preset['backbone'] == 'dino_vits8' and preset['crops'] == 'five'


@pytest.mark.parametrize('name, random, neighbour, itself', [
    ('coco_stuff27_vits', (.63, .66), (.25, .02), (.67, .08)),
    ('coco_stuff27_vitb', (.1538476246415498, 1), (1, .2), (.1, .12)),
    ('cityscapes27', (.9058762625226623, .31361241889448443),
     (.577453483136995, .1754346515479633), (1, .45828472207)),
    ('potsdam3', (.63, .46), (.25, .02), (.67, .08))])
def test_presets_are_the_published_settings(name, random, neighbour, itself):
  config = from_arguments(StegoConfig, object.__new__(type('Nothing', (), {})), PRESETS[name])
  assert (config.random_weight, config.random_shift) == random
  assert (config.neighbour_weight, config.neighbour_shift) == neighbour
  assert (config.self_weight, config.self_shift) == itself
  assert config.num_neighbors == 7 and config.feature_samples == 11 and config.neg_samples == 5


def test_presets_name_known_things():
  for name, preset in PRESETS.items():
    assert preset['dataset'] in {*DATASETS, 'potsdam3'}, name
    assert preset['crops'] in ('one', 'five')
  fields = {field.name for cls in (StegoConfig, TrainingConfig) for field in
            dataclasses.fields(cls)} | {'dataset', 'backbone', 'crops', 'size', 'resampling'}
  assert {key for preset in (DEFAULTS, *PRESETS.values()) for key in preset} <= fields
  assert DEFAULTS['optimizer'] == 'adam' and DEFAULTS['power'] == 0
  assert DEFAULTS['learning_rate'] == 5e-4 and DEFAULTS['num_steps'] == 5000


@pytest.mark.parametrize('options, message', [
    ({'dim': 0}, '--dim 0: must be above 0'), ({'test_alpha': 0.0}, '--test_alpha'),
    ({'crf_weight': -1.0}, '--crf_weight -1.0: must not be negative'),
    ({'dropout': 1.0}, '--dropout 1.0'), ({'projection': 'deep'}, '--projection deep: one of'),
    ({'feature_samples': 0}, '--feature_samples 0'), ({'cluster_start': 'a'}, '--cluster_start a')])
def test_wrong_options_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    StegoConfig(**options)
