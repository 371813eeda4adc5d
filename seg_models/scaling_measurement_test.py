import numpy as np
import pytest

from seg_models import scaling_measurement
from seg_models.models import ModelConfig, build_model

CONFIG = ModelConfig(name='fcn_resnet50', output_dim=6, width=0.125, blocks=(1, 1, 1, 1))


@pytest.mark.slow
@pytest.mark.parametrize('method', ['segsort', 'softmax'])
def test_every_byte_is_counted(method):
  found = scaling_measurement.measure(2, method, CONFIG, (33, 33), 1, steps=1)
  channels = CONFIG.output_dim if method == 'segsort' else scaling_measurement.CLASSES
  model = build_model(ModelConfig(**{**vars(CONFIG), 'output_dim': channels}))
  weights = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
  # The gradients travel with the totals and weights of the metrics.
  metrics = {'segsort': 5, 'softmax': 2}[method]
  assert max(found.messages) == 4 * weights + 2 * 4 * metrics
  norms = [layer for layer in model.layers if type(layer).__name__ == 'BatchNorm']
  statistics = sorted(2 * 2 * 4 * layer.gamma.shape[0] for layer in norms)  # of two replicas
  for size in set(statistics):  # forward and backward
    assert found.messages.count(size) >= 2 * statistics.count(size)
  assert (found.pixels, found.dim) == (25, channels)
  if method == 'softmax':
    assert len(found.messages) == 2 * len(norms) + 2 and found.prototypes == 0
  else:
    assert 4 * 2 * found.prototypes * channels in found.messages
  assert found.seconds > 0


def test_too_few_devices_are_named():
  with pytest.raises(ValueError, match='9 replicas: only 2 CPU'):
    scaling_measurement.measure(9, 'softmax', CONFIG, (33, 33), 1, 1)


def test_a_step_from_three_measurements():
  one, two, four = (
      scaling_measurement.Measured(count, 0.5 / count, [16 * count, 1000], rows, 50, 8)
      for count, rows in ((1, 0), (2, 30), (4, 30)))
  step = scaling_measurement.step_of(one, two, four, batch_size=3)
  assert (step.images, step.seconds) == (3, 0.5) and step.seconds_per_replica > 0
  assert step.gradients.constant_bytes == 1000 and step.others.replica_bytes == 16
  without = scaling_measurement.Measured(2, 0.25, [32, 1000], 0, 50, 8)
  assert scaling_measurement.step_of(one, without, four, 3).seconds_per_replica == 0


def test_times_grow_with_the_work():
  few, many = (scaling_measurement.comparison_seconds(500, rows, 16, rounds=5)
               for rows in (100, 20000))
  assert many > 2 * few
  assert scaling_measurement.copy_bandwidth(8) > 1e7


def test_flags_that_are_not_given_are_the_networks_own():
  assert scaling_measurement.model_config_of('fcn_resnet50', None, None, None, 7) == ModelConfig(
      name='fcn_resnet50', output_dim=7)
