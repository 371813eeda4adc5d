"""Networks by name: configurations, names of variables, initial values, precision."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
import tensorflow as tf

from network.common import hrnet
from network.common.vision_transformer import SHAPES
from seg_models.models import (
    BACKBONES,
    HEADS,
    ModelConfig,
    build_model,
    is_head,
    output_stride_of,
    variable_names,
)


def small(head, backbone='resnet50', **fields):
  """The configuration of a small network."""
  fields = {'width': 0.0625, 'blocks': (1, 1, 1, 1), 'output_dim': 5, **fields}
  if head == 'features':
    del fields['output_dim']  # the trunk's
  if backbone == 'mobilenet_v2':
    fields.update(width=0.35, blocks=())
  if backbone in hrnet.CHANNELS:
    fields.update(blocks=())
  if backbone in SHAPES:
    fields.update(blocks=(2,))
  if HEADS[head].dim:
    fields.setdefault('head_dim', 6)
  return ModelConfig(name=f'{head}_{backbone}', **fields)


@pytest.fixture
def shallow_hrnet(monkeypatch):
  """HRNets of one module and one unit wherever they have more: building is what takes time."""
  monkeypatch.setattr(hrnet, '_MODULES', dict.fromkeys((2, 3, 4), 1))
  monkeypatch.setattr(hrnet, '_UNITS', 1)


def image(*size):
  return np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32) * 50


@pytest.mark.parametrize('name', [
    f'{head}_{backbone}' for head in HEADS for backbone in BACKBONES
    if head != 'deeplab_v3plus' or backbone not in SHAPES])
def test_every_head_goes_with_every_backbone(name):
  config = ModelConfig(name=name)
  assert '_'.join(config.parts()) == name
  backbone = config.parts()[1]
  stride = int(re.search(r'\d+$', backbone)[0]) if backbone in SHAPES else 8
  assert config.output_stride == (4 if backbone.startswith('hrnet') else stride)
  assert output_stride_of(config) == (4 if 'v3plus' in name else config.output_stride)
  assert len(config.blocks) == (
      4 if backbone.startswith('resnet') else 1 if backbone in SHAPES else 0)


def test_a_configuration_is_explicit_once_made():
  assert ModelConfig().head_dim == 512
  assert ModelConfig().blocks == ModelConfig(name='fcn_resnet101_deep').blocks == (3, 4, 23, 3)
  assert ModelConfig().output_stride == 8
  assert ModelConfig(name='features_hrnet_w48').output_dim == 720
  assert ModelConfig(name='ocr_hrnet_w18').head_dim == 512
  assert ModelConfig(name='pspnet_mobilenet_v2').head_dim == 128
  assert ModelConfig(name='deeplab_v3_resnet50').head_dim == 256
  assert ModelConfig(name='deeplab_resnet50').head_dim is None
  assert ModelConfig(projection='linear').projection_dim == 256
  config = small('pspnet')
  assert ModelConfig(**dataclasses.asdict(config)) == config


@pytest.mark.parametrize('fields, message', [
    ({'name': 'pspnet_vgg16'}, 'pspnet_vgg16: unknown; there are pspnet_resnet50'),
    ({'output_stride': 32}, '--output_stride 32: that of resnet101 is 8 or 16'),
    ({'name': 'fcn_hrnet_w18', 'output_stride': 8}, '--output_stride 8: that of hrnet_w18 is 4'),
    ({'name': 'fcn_hrnet_w18', 'blocks': (1, 1, 1, 1)}, 'hrnet_w18 has none to count'),
    ({'name': 'hrnet_hrnet_w18', 'head_dim': 8}, 'the head hrnet has no width'),
    ({'name': 'fcn_dino_vits8', 'output_stride': 16}, '--output_stride 16: .*dino_vits8 is 8'),
    ({'name': 'fcn_dino_vits8', 'blocks': (3, 4, 6, 3)}, 'one positive number of blocks is needed'),
    ({'name': 'deeplab_v3plus_dino_vits8'}, 'deeplab_v3plus_dino_vits8: unknown'),
    ({'pool_padding': 'valid'}, 'pool_padding'),
    ({'blocks': (1, 2)}, 'four positive'),
    ({'name': 'fcn_mobilenet_v2', 'blocks': (1, 1, 1, 1)}, '--blocks'),
    ({'name': 'fcn_resnet50', 'head_dim': 8}, '--head_dim 8: the head fcn has no width'),
    ({'head_dim': 0}, '--head_dim 0'),
    ({'projection': 'mlp'}, '--projection mlp: one of linear, convmlp'),
    ({'projection_dim': 8}, '--projection_dim 8: there is no --projection'),
    ({'projection': 'linear', 'projection_dim': 0}, '--projection_dim 0'),
    ({'width': 0.0}, 'width')])
def test_what_does_not_fit_is_an_error(fields, message):
  with pytest.raises(ValueError, match=message):
    ModelConfig(**fields)


@pytest.mark.parametrize('head, backbone', [
    *itertools.product(HEADS, ['resnet50', 'mobilenet_v2']),
    ('deeplab_v3', 'resnet101_deep'), ('deeplab_v3plus', 'hrnet_w32'), ('hrnet', 'hrnet_w18'),
    ('ocr', 'hrnet_w48'), ('features', 'hrnet_w18'), ('features', 'dinov2_vits14'),
    ('fcn', 'dino_vits8'), ('deeplab_v3', 'dino_vitb16')])
@pytest.mark.usefixtures('shallow_hrnet')
def test_output_shape_and_gradients(head, backbone):
  config = small(head, backbone)
  model = build_model(config)
  with tf.GradientTape() as tape:
    output = model(image(25, 33), training=True)
    value = tf.reduce_mean(tf.square(output))
  stride = output_stride_of(config)
  assert output.shape == (2, -(-25 // stride), -(-33 // stride), config.output_dim)
  assert output.dtype == tf.float32
  gradients = tape.gradient(value, model.trainable_variables)
  names = variable_names(model)
  assert len(names) == len(model.variables)
  for name, gradient in zip(
      (name for name, value in names.items() if value.trainable), gradients, strict=True):
    assert gradient is not None and np.isfinite(gradient).all(), name
  assert all(name.startswith(f'{BACKBONES[backbone]}/') for name in names)
  assert any(is_head(name) for name in names) == (head != 'features')


@pytest.mark.parametrize('head', ['fcn', 'deeplab_v3plus'])
def test_outputs_are_built_as_asked_for(head):
  config = small(head, projection='convmlp', projection_dim=4)
  model = build_model(config, outputs=('logits', 'projection'))
  x = image(25, 33)
  both = model(x, training=False)
  assert both['logits'].shape == (2, *(-(-n // output_stride_of(config)) for n in (25, 33)), 5)
  assert output_stride_of(config, 'projection') == 8
  assert both['projection'].shape == (2, 4, 5, 4)
  np.testing.assert_allclose(np.linalg.norm(both['projection'], axis=-1), 1, rtol=1e-5)
  for name in ('logits', 'projection'):
    single = build_model(config, outputs=name)
    np.testing.assert_allclose(single(x, training=False), both[name], atol=1e-5)
    heads = {key for key in variable_names(single) if is_head(key)}
    assert all(('projection_head' in key) == (name == 'projection') for key in heads) and heads
  with pytest.raises(ValueError, match='has no output projection, only logits'):
    build_model(small(head), outputs=('logits', 'projection'))


def test_a_projection_costs_nothing_at_inference():
  """The classifier of a network with a projection head is the program of one without."""
  programs = []
  for fields in ({}, {'projection': 'convmlp'}):
    model = build_model(small('deeplab_v3', **fields))
    call = tf.function(lambda x, model=model: model(x, training=False))
    graph = call.get_concrete_function(tf.TensorSpec([None, None, None, 3])).graph
    programs.append([operation.type for operation in graph.get_operations()])
  assert programs[0] == programs[1] and 'Conv2D' in programs[0]


@pytest.mark.parametrize('head, backbone', [
    ('pspnet', 'resnet50'), ('deeplab_v3plus', 'mobilenet_v2'), ('ocr', 'hrnet_w18'),
    ('features', 'dino_vits16')])
@pytest.mark.usefixtures('shallow_hrnet')
def test_layers_have_the_same_names_whatever_was_built_before(head, backbone):
  """By them TensorFlow orders sums: a step of one network rounds the same in every process."""
  config = small(head, backbone, projection='convmlp')
  first, second = (
      [layer.name for layer in build_model(config, outputs=('logits', 'projection')).layers]
      for _ in range(2))
  assert first == second and len(set(first)) == len(first)


def test_initial_values_follow_from_name_and_seed_alone():
  def values(head, seed):
    model = build_model(small(head), seed=seed)
    return {name: value.numpy() for name, value in variable_names(model).items()}
  one, other, again = values('pspnet', 1), values('fcn', 1), values('pspnet', 2)
  for name, value in other.items():
    if not is_head(name):
      np.testing.assert_array_equal(value, one[name])
    if name.endswith('biases'):
      assert not value.any()
    if name.endswith('weights') and not is_head(name):
      assert not np.array_equal(value, again[name])
  kernel = values('deeplab', 0)['resnet_v1_50/fc1_c0/weights']
  np.testing.assert_allclose(kernel.std(), np.sqrt(2 / np.prod(kernel.shape[:-1])), rtol=0.05)


@pytest.mark.parametrize('name', [
    ('deeplab_v3plus', 'resnet50'), ('ocr', 'hrnet_w18'), ('features', 'dino_vits8')])
@pytest.mark.parametrize(
    'precision, tolerance', [('mixed_bfloat16', 0.15), ('mixed_float16', 0.02)])
@pytest.mark.usefixtures('shallow_hrnet')
def test_precision_is_of_the_convolutions_only(name, precision, tolerance):
  config = small(*name)
  half, full = build_model(config, precision=precision), build_model(config)
  assert {variable.dtype for variable in half.variables} == {'float32'}
  x = image(25, 33)
  expected = full(x, training=True)
  output = half(x, training=True)
  assert output.dtype == tf.float32
  error = np.abs(output - expected).mean() / np.abs(expected).mean()
  assert 0 < error < tolerance


@pytest.mark.parametrize('name', [
    ('pspnet', 'resnet50'), pytest.param(('ocr', 'hrnet_w18'), marks=pytest.mark.slow)])
@pytest.mark.usefixtures('shallow_hrnet')
def test_compiled_and_with_sizes_known_only_when_run_it_is_the_same(name):
  model = build_model(small(*name))
  x = image(25, 33)
  expected = model(x, training=False)
  call = tf.function(lambda x: model(x, training=False))
  anything = call.get_concrete_function(tf.TensorSpec([None, None, None, 3]))
  atol = 1e-5 * np.abs(expected).max()
  np.testing.assert_allclose(anything(tf.constant(x)), expected, atol=atol)
  compiled = tf.function(lambda x: model(x, training=False), jit_compile=True)
  np.testing.assert_allclose(compiled(x), expected, atol=atol)


def test_global_status_freezes_batch_norm_alone():
  model = build_model(small('pspnet'), use_global_status=True)
  before = [variable.numpy() for variable in model.variables]
  assert not any('BatchNorm' in variable.path for variable in model.trainable_variables)
  np.testing.assert_allclose(
      model(image(9, 9), training=True), model(image(9, 9), training=False), atol=1e-5)
  for variable, value in zip(model.variables, before, strict=True):
    np.testing.assert_array_equal(variable, value)


def test_decay_and_epsilon_reach_trunk_and_head():
  model = build_model(small(
      'pspnet', batch_norm_decay=0.5, head_batch_norm_decay=0.25, batch_norm_epsilon=0.125))
  norms = [layer for layer in model.layers if layer.name.endswith('BatchNorm')]
  assert {(is_head(layer.name.replace('.', '/')), layer.decay, layer.epsilon)
          for layer in norms} == {(False, 0.5, 0.125), (True, 0.25, 0.125)}
