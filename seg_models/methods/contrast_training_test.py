"""Training steps of the method on networks."""

import numpy as np
import pytest

from seg_models.datasets import dataset_for
from seg_models.methods.contrast import Contrast, ContrastConfig
from seg_models.methods.contrast_test import CLASSES, SMALL, batch_of
from seg_models.models import ModelConfig, build_model, variable_names
from utils.train_step import TrainStep
from utils.training import TrainingConfig, make_strategy

NETWORK = {'name': 'fcn_resnet50', 'output_dim': CLASSES, 'width': 0.125, 'blocks': (1, 1, 1, 1)}


def make(replicas=1, batch_size=4, learning_rate=0.02, precision='float32', **options):
  training = TrainingConfig(
      num_steps=10, batch_size=batch_size, learning_rate=learning_rate, precision=precision)
  config = ContrastConfig(**{**SMALL, **options})
  fields, outputs = Contrast.network(config)
  strategy = make_strategy(replicas)
  with strategy.scope():
    model = build_model(ModelConfig(**NETWORK, **fields), outputs=outputs,
                        synchronized=replicas > 1, precision=precision)
  method = Contrast(model, dataset_for(None, CLASSES), config, batch_size, seed=5)
  variables = variable_names(model)
  return method, TrainStep(
      method, variables, training, strategy, dict.fromkeys(variables, 1.0))


@pytest.mark.parametrize('name', ['deeplab_v3_resnet50', 'ocr_resnet50'])
def test_a_step_with_auxiliary_logits_teaches_them(name):
  config = ContrastConfig(**SMALL, auxiliary_weight=0.4)
  fields, outputs = Contrast.network(config)
  model = build_model(
      ModelConfig(**{**NETWORK, 'name': name, 'head_dim': 8}, **fields), outputs=outputs)
  method = Contrast(model, dataset_for(None, CLASSES), config, 2, seed=5)
  variables = variable_names(model)
  before = {name: variable.numpy() for name, variable in variables.items()}
  training = TrainingConfig(num_steps=10, batch_size=2, learning_rate=0.02)
  step = TrainStep(method, variables, training, make_strategy(1), dict.fromkeys(variables, 1.0))
  step([batch_of(2)], 0)
  own = [name for name in variables if '/auxiliary/' in name]
  assert len(own) == 7
  assert all(np.any(variables[name].numpy() != before[name]) for name in own)


@pytest.mark.slow
@pytest.mark.parametrize('precision, memory', [
    ('float32', 'none'), ('mixed_float16', 'both'), ('mixed_bfloat16', 'none')])
def test_losses_fall(precision, memory):
  method, step = make(precision=precision, memory=memory, warmup_steps=2, contrast_weight=1.0)
  batch = batch_of(4)
  metrics = [step([batch], index) for index in range(9)]
  assert float(metrics[0]['contrast_loss']) == 0
  assert metrics[-1]['contrast_loss'] < metrics[2]['contrast_loss']
  assert metrics[-1]['cross_entropy'] < metrics[0]['cross_entropy']
  assert metrics[-1]['positive_similarity'] > metrics[-1]['negative_similarity']
  maps = method.maps(batch)
  assert maps['prediction'].shape == (4, 6, 6) and maps['embedding'].shape == (4, 6, 6, 6)


def values(step):
  return {name: variable.numpy() for name, variable in step.saved_variables().items()}


def assert_steps_agree(results):
  (one, first), (two, second) = results
  for left, right in zip(one, two, strict=True):
    for name in left:
      np.testing.assert_allclose(float(right[name]), float(left[name]), rtol=2e-3, err_msg=name)
  for name, value in first.items():
    scale = max(np.abs(value).max(initial=0), 1e-3)
    np.testing.assert_allclose(second[name], value, atol=2e-3 * scale, err_msg=name)


@pytest.mark.slow
def test_two_replicas_equal_one_device_on_the_joined_batch():
  results = []
  for replicas in (1, 2):
    _, step = make(replicas, learning_rate=1e-4, memory='both', warmup_steps=1)
    metrics = [step([batch_of(4, seed=seed)], seed) for seed in range(3)]
    results.append((metrics, values(step)))
  assert_steps_agree(results)
