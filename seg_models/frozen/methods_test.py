import dataclasses

import pytest

from seg_models.datasets import dataset_for
from seg_models.frozen.methods import FROZEN_METHODS
from seg_models.frozen.run import CONFIGS

_FIELDS = {field.name for cls in CONFIGS for field in dataclasses.fields(cls)}


@pytest.mark.parametrize('name', FROZEN_METHODS)
def test_a_method_keeps_to_the_protocol(name):
  method = FROZEN_METHODS[name]
  assert method.name == name
  own = {field.name for field in dataclasses.fields(method.Config)}
  assert not own & _FIELDS  # flags are unique
  for settings in (method.DEFAULTS, *method.PRESETS.values()):
    assert set(settings) <= own | _FIELDS
  for preset in method.PRESETS.values():
    assert preset['resampling'] == 'nearest'  # what thresholds were set for
  config = method.Config()
  made = method(method.build_head(12, config, 0), dataset_for(None, 3), config, 2, 0)
  assert set(made.rate_multipliers()) == set(made.variables())
  assert isinstance(made.initial_state(), dict)
