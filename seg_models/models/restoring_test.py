"""Files of every kind that `--restore_from` takes, written here, and those that it must refuse."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from network.common import hrnet
from network.common.pretrained import KERAS_RESNET_EPSILON
from network.common.pretrained_hrnet import public_name
from network.common.pretrained_vit import public_name as dino_name
from seg_models.models import ModelConfig, build_model, is_head, variable_names
from seg_models.models.restoring import config_for, restore_model
from utils import checkpoints
from utils.shared_data import shared

CONFIG = ModelConfig(
    name='pspnet_resnet50', output_dim=6, width=0.0625, blocks=(1, 1, 1, 1), head_dim=8)
SCOPE = 'resnet_v1_50'
# Keras' own way of making NumPy arrays of its variables.
KERAS_WARNING = pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')


def values(model):
  return {name: variable.numpy() for name, variable in variable_names(model).items()}


def random_values(model, seed=0):
  random = np.random.default_rng(seed)
  return {name: random.uniform(0.1, 1.0, variable.shape).astype(np.float32)
          for name, variable in variable_names(model).items()}


@pytest.fixture(scope='module')
def arrays():
  """Values for all variables of `CONFIG`'s network."""
  return random_values(build_model(CONFIG))


@pytest.fixture
def model():
  return build_model(CONFIG, seed=1)


def trunk_of(arrays):
  return {name: value for name, value in arrays.items() if not is_head(name)}


def save_ours(path, arrays, config=CONFIG, **metadata):
  checkpoints.save(path, arrays, {'model': dataclasses.asdict(config), **metadata})
  return str(path)


def save_v1(path, arrays):
  """A file in the format of TF-Slim's releases."""
  tf.raw_ops.Save(
      filename=str(path), tensor_names=list(arrays),
      data=[tf.constant(value) for value in arrays.values()])
  return str(path)


def save_v2(path, arrays):
  checkpoints.save(path, arrays)
  return str(path)


def assert_values(model, expected):
  actual = values(model)
  for name, value in expected.items():
    np.testing.assert_array_equal(actual[name], value, err_msg=name)


def test_our_own_checkpoint_brings_its_configuration(tmp_path, arrays, model):
  path = save_ours(tmp_path / 'model.ckpt-1', {
      **arrays, f'{SCOPE}/conv1/weights/Momentum': np.ones(2), 'state/memory': np.ones(3)})
  assert config_for(path, ModelConfig()) == CONFIG
  assert config_for(path, CONFIG, explicit=('name', 'output_dim', 'width')) == CONFIG
  report = restore_model(model, path)
  assert set(report.loaded) == set(arrays) and not report.missing and not report.skipped
  assert set(report.training) == {f'{SCOPE}/conv1/weights/Momentum', 'state/memory'}
  assert_values(model, arrays)


@pytest.mark.parametrize('field, value', [
    ('name', 'fcn_resnet50'), ('output_dim', 7), ('output_stride', 16), ('head_dim', 9)])
def test_a_flag_that_contradicts_the_checkpoint_is_an_error(tmp_path, arrays, field, value):
  flag = {'name': 'model', 'output_dim': 'embedding_dim or --num_classes'}.get(field, field)
  path = save_ours(tmp_path / 'model.ckpt-1', arrays)
  config = dataclasses.replace(
      CONFIG, **{**({'head_dim': None} if field == 'name' else {}), field: value})
  assert config_for(path, config) == CONFIG
  with pytest.raises(ValueError, match=(
      f'model.ckpt-1: a checkpoint of this project of pspnet_resnet50.*--{flag} {value} where '
      f'the checkpoint has {getattr(CONFIG, field)}: leave the flag out')):
    config_for(path, config, explicit=(field,))


def test_without_its_head_a_checkpoint_goes_below_another_one(tmp_path, arrays):
  path = save_ours(tmp_path / 'model.ckpt-1', arrays)
  wanted = ModelConfig(name='fcn_resnet50', output_dim=4)
  config = config_for(path, wanted, ('name', 'output_dim'), restore_head=False)
  assert config == dataclasses.replace(CONFIG, name='fcn_resnet50', output_dim=4, head_dim=None)
  model = build_model(config, seed=3)
  before = values(model)
  report = restore_model(model, path, restore_head=False)
  assert_values(model, trunk_of(arrays))
  head = {name for name in before if is_head(name)}
  assert_values(model, {name: before[name] for name in head})
  assert set(report.left) == head and set(report.loaded) == set(trunk_of(arrays))
  assert config_for(path, ModelConfig(), restore_head=False) == CONFIG
  with pytest.raises(ValueError, match='backbone is resnet50, that of --model pspnet_resnet101'):
    config_for(path, ModelConfig(), ('name',), restore_head=False)


def test_not_restore_classifier_leaves_the_head(tmp_path, arrays, model):
  before = values(model)
  restore_model(model, save_ours(tmp_path / 'a', arrays), restore_head=False)
  assert_values(model, trunk_of(arrays))
  assert_values(model, {name: before[name] for name in before if is_head(name)})


@pytest.mark.parametrize('save', [save_v1, save_v2])
def test_slims_files_are_run_with_slims_conventions(tmp_path, arrays, model, save):
  before = values(model)
  extra = {f'{SCOPE}/logits/weights': np.ones([1, 1, 128, 10], np.float32),
           'global_step': np.int64(7), f'{SCOPE}/mean_rgb': np.ones(3, np.float32)}
  path = save(tmp_path / 'resnet_v1_50.ckpt', {**trunk_of(arrays), **extra})
  assert config_for(path, CONFIG) == dataclasses.replace(
      CONFIG, batch_norm_epsilon=1e-5, pool_padding='same')
  report = restore_model(model, path)
  assert set(report.missing) == {name for name in before if is_head(name)}
  assert 'logits/weights' in ''.join(report.skipped)
  assert set(report.skipped) | set(report.training) == set(extra)
  assert_values(model, trunk_of(arrays))
  assert_values(model, {name: before[name] for name in report.missing})


@pytest.mark.parametrize('save', [save_v1, save_v2])
def test_the_originals_checkpoints_are_run_with_its_conventions(tmp_path, arrays, model, save):
  training = {f'{name}/Momentum': value for name, value in arrays.items() if 'Norm/m' not in name}
  training |= {'memory_0': np.ones([4, 6], np.float32), 'memory_labels_0': np.ones(4, np.int32)}
  path = save(tmp_path / 'model.ckpt-30000', {**arrays, **training})
  assert config_for(path, CONFIG) == CONFIG
  report = restore_model(model, path)
  assert set(report.loaded) == set(arrays) and set(report.training) == set(training)
  assert not report.missing and not report.skipped
  assert_values(model, arrays)


def test_the_original_was_trained_with_these_conventions():
  config = ModelConfig()
  assert (config.batch_norm_epsilon, config.pool_padding) == (1e-3, 'explicit')
  assert (config.batch_norm_decay, config.head_batch_norm_decay) == (0.9997, 0.99)


def mobilenet(width):
  return ModelConfig(name='fcn_mobilenet_v2', output_dim=3, width=width)


@KERAS_WARNING
@pytest.mark.parametrize('include_top', [True, False])
def test_keras_mobilenet_v2_is_loaded(tmp_path, include_top):
  theirs = keras.applications.MobileNetV2(
      input_shape=(32, 32, 3), alpha=0.35, include_top=include_top, weights=None, classes=5)
  random = np.random.default_rng(0)
  for variable in theirs.variables:
    variable.assign(random.uniform(0.1, 1.0, variable.shape))
  path = str(tmp_path / 'a.weights.h5')
  theirs.save_weights(path)
  config = mobilenet(0.35)
  assert config_for(path, config) == config
  model = build_model(config)
  report = restore_model(model, path)
  assert set(report.loaded) == set(trunk_of(values(model)))
  assert {name.split('/')[0] for name in report.skipped} == (
      {'Conv_1', 'Conv_1_bn'} | ({'predictions'} if include_top else set()))
  arrays = {variable.path: variable.numpy() for variable in theirs.variables}
  assert_values(model, {
      'mobilenet_v2/Conv1/weights': arrays['Conv1/kernel'],
      'mobilenet_v2/block_3_depthwise/weights': arrays['block_3_depthwise/kernel'],
      'mobilenet_v2/block_3_depthwise_BN/moving_variance':
          arrays['block_3_depthwise_BN/moving_variance']})


def test_the_pretrained_mobilenet_v2_is_loaded():
  path = str(shared('data', 'backbones', 'mobilenet_v2_imagenet_notop.weights.h5'))
  model = build_model(mobilenet(1.0))
  report = restore_model(model, path)
  assert set(report.missing) == {name for name in values(model) if is_head(name)}
  assert len(report.loaded) == 51 * 5
  features = keras.Model(model.input, model.layers[-3].output)
  # Features of ImageNet's network are alive, neither dead nor huge.
  image = np.random.default_rng(0).uniform(-100, 100, (1, 32, 32, 3)).astype(np.float32)
  assert 0.01 < np.std(features(image)) < 100


@KERAS_WARNING
def test_keras_resnet_is_run_with_keras_conventions(tmp_path):
  theirs = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
  path = str(tmp_path / 'a.weights.h5')
  theirs.save_weights(path)
  config = ModelConfig(name='fcn_resnet50', pool_padding='same')
  assert config_for(path, config) == dataclasses.replace(
      config, batch_norm_epsilon=KERAS_RESNET_EPSILON, pool_padding='explicit')
  model = build_model(config)
  report = restore_model(model, path)
  assert len(report.loaded) == 53 * 5 and not report.skipped
  kernel = theirs.get_layer('conv3_block4_2_conv').kernel.numpy()
  assert_values(model, {f'{SCOPE}/block2/unit_4/bottleneck_v1/conv2/weights': kernel})


def renamed(arrays, scope):
  return {name.replace(SCOPE, scope): value for name, value in arrays.items()}


def deeper(arrays):
  unit = f'{SCOPE}/block2/unit_2/bottleneck_v1/conv2/weights'
  return {**arrays, unit: np.ones([3, 3, 8, 8], np.float32)}


def wider(arrays):
  name = f'{SCOPE}/block1/unit_1/bottleneck_v1/conv2/weights'
  return {**arrays, name: np.ones([3, 3, 8, 8], np.float32)}


def broken(arrays):
  return {**arrays, f'{SCOPE}/conv1/weights': arrays[f'{SCOPE}/conv1/weights'] * np.nan}


@pytest.mark.parametrize('change, message', [
    (lambda arrays: renamed(arrays, 'resnet_v1_101'), (
        r'a checkpoint of the original with \d+ arrays \(resnet_v1_101/.*not weights of '
        r'pspnet_resnet50: \d+ of its \d+ variables of the trunk are missing')),
    (deeper, 'it has 1 arrays of a deeper or another trunk, .*block2/unit_2'),
    (wider, r'conv2/weights is \(3, 3, 4, 4\), .* there \(3, 3, 8, 8\)'),
    (broken, f'NaN or infinity in {SCOPE}/conv1/weights'),
    (lambda arrays: {'w': np.ones(3)}, 'a TensorFlow checkpoint of something else with 1 arrays'),
])
def test_a_file_of_another_network_is_refused(tmp_path, arrays, model, change, message):
  before = values(model)
  path = save_v2(tmp_path / 'model.ckpt-1', change(arrays))
  with pytest.raises(ValueError, match=f'model.ckpt-1: .*{message}'):
    restore_model(model, path)
  assert_values(model, before)


@KERAS_WARNING
@pytest.mark.parametrize('config', [CONFIG, mobilenet(0.35)], ids=['resnet', 'mobilenet'])
def test_a_keras_file_of_another_network_is_refused(tmp_path, config):
  images = keras.Input([8, 8, 3])
  keras.Model(images, keras.layers.Conv2D(4, 3, name='mine')(images)).save_weights(
      tmp_path / 'a.weights.h5')
  with pytest.raises(ValueError, match=(
      rf'a Keras weight file with 2 arrays \(mine/bias, mine/kernel\), not weights of {config.name}'
  )):
    restore_model(build_model(config), tmp_path / 'a.weights.h5')


def test_a_damaged_file_is_told(tmp_path, arrays, model):
  path = save_v2(tmp_path / 'a', arrays)
  with open(f'{path}.data-00000-of-00001', 'r+b') as file:
    file.truncate(1000)
  before = values(model)
  with pytest.raises(OSError, match='damaged'):
    restore_model(model, path)
  assert_values(model, before)


def test_a_checkpoint_that_does_not_describe_its_network_is_told(tmp_path, arrays):
  checkpoints.save(tmp_path / 'a', arrays, {'step': 1})
  with pytest.raises(ValueError, match='its description of the network is missing'):
    config_for(tmp_path / 'a', CONFIG)


def test_a_missing_file_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match='model.ckpt-1'):
    config_for(tmp_path / 'model.ckpt-1', CONFIG)


@pytest.fixture
def shallow_hrnet(monkeypatch):
  """HRNets of one module and one unit wherever they have more: building is what takes time."""
  monkeypatch.setattr(hrnet, '_MODULES', dict.fromkeys((2, 3, 4), 1))
  monkeypatch.setattr(hrnet, '_UNITS', 1)


HRNET = ModelConfig(name='ocr_hrnet_w18', output_dim=3, width=0.25, head_dim=6)
IMAGE = np.random.default_rng(0).normal(size=(1, 37, 45, 3)).astype(np.float32) * 50


def public_file(model, path):
  """A network's values as the public files have them, with what else is in these."""
  random = np.random.default_rng(0)
  arrays = {'model.stage4.0.branches.0.0.bn1.num_batches_tracked': np.int64(5),
            'model.incre_modules.0.0.conv1.weight': np.ones([2, 3, 1, 1], np.float32)}
  for name, variable in variable_names(model).items():
    value = variable.numpy()
    arrays[f'model.{public_name(name)}'] = (
        value.transpose(3, 2, 0, 1) if value.ndim == 4 else value)
  for conv, norm in (('aux_head.0', 'aux_head.1'), ('conv3x3_ocr.0', 'conv3x3_ocr.1')):
    mean = arrays[f'model.{norm}.running_mean']
    bias = arrays[f'model.{conv}.bias'] = random.normal(size=mean.shape).astype(np.float32)
    arrays[f'model.{norm}.running_mean'] = mean + bias
  np.savez(path, **arrays)
  return str(path)


def scrambled(config, **arguments):
  model = build_model(config, **arguments)
  for name, value in random_values(model).items():
    variable = variable_names(model)[name]
    variable.assign(value if name.endswith(('gamma', 'variance')) else (value - 0.5) * 0.5)
  return model


@pytest.mark.usefixtures('shallow_hrnet')
def test_a_public_hrnet_computes_what_it_computed(tmp_path):
  config = dataclasses.replace(HRNET, batch_norm_epsilon=1e-5)
  theirs = scrambled(config)
  path = public_file(theirs, tmp_path / 'hrnet.npz')
  assert config_for(path, HRNET) == config
  model = build_model(config, seed=1)
  report = restore_model(model, path)
  assert set(report.loaded) == set(values(model)) and not report.missing
  assert report.skipped == ('incre_modules.0.0.conv1.weight',)
  expected = theirs(IMAGE, training=False)
  np.testing.assert_allclose(
      model(IMAGE, training=False), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.usefixtures('shallow_hrnet')
def test_a_public_hrnet_goes_below_other_heads_and_nothing_else(tmp_path):
  path = public_file(build_model(HRNET), tmp_path / 'hrnet.npz')
  other = build_model(ModelConfig(name='deeplab_v3_hrnet_w18', width=0.25, head_dim=8))
  report = restore_model(other, path)
  assert set(report.missing) == {name for name in values(other) if is_head(name)}
  assert 'cls_head.weight' in report.skipped
  with pytest.raises(ValueError, match=(
      'hrnet.npz: a file of named arrays.*not weights of ocr_hrnet_w32.*have another shape')):
    restore_model(build_model(ModelConfig(name='ocr_hrnet_w32', width=0.25)), path)
  with pytest.raises(ValueError, match=r'not weights of pspnet_resnet50: \d+ of its \d+ variables'):
    restore_model(build_model(CONFIG), path)


@pytest.mark.usefixtures('shallow_hrnet')
def test_a_file_of_no_hrnet_is_refused(tmp_path, arrays):
  model = build_model(HRNET)
  np.savez(tmp_path / 'a.npz', **{'conv1.weight': np.ones([4, 3, 3, 3], np.float32)})
  for path in (str(tmp_path / 'a.npz'), save_v2(tmp_path / 'a', arrays)):
    with pytest.raises(ValueError, match=r'not weights of ocr_hrnet_w18: \d+ of its'):
      restore_model(model, path)


def test_the_two_stems_are_not_mistaken_for_one_another(tmp_path, arrays):
  deep_config = dataclasses.replace(CONFIG, name='pspnet_resnet50_deep')
  deep = build_model(deep_config)
  ordinary = save_v2(tmp_path / 'resnet_v1_50.ckpt', arrays)
  with pytest.raises(ValueError, match=(
      'not weights of pspnet_resnet50_deep.*15 of its .* variables of the trunk are missing there, '
      'resnet_v1_50/conv1_1/weights for one: the file has the ordinary stem.*leave `_deep` out')):
    restore_model(deep, ordinary)
  file = save_v2(tmp_path / 'resnet_v1_50_beta.ckpt', trunk_of(values(deep)))
  with pytest.raises(ValueError, match=(
      'not weights of pspnet_resnet50: 5 of its .*the file has the deep stem.*add `_deep` to')):
    restore_model(build_model(CONFIG), file)
  assert config_for(file, deep_config).batch_norm_epsilon == 1e-5
  assert not restore_model(build_model(deep_config, seed=2), file).skipped


def test_inference_does_without_what_training_had_beside(tmp_path):
  config = dataclasses.replace(CONFIG, name='deeplab_v3_resnet50')
  trained = build_model(config, outputs=('logits', 'auxiliary'))
  path = save_ours(tmp_path / 'model.ckpt-1', values(trained), config)
  report = restore_model(build_model(config), path)
  assert report.skipped and all('/block5/auxiliary/' in name for name in report.skipped)
  assert not report.missing


DINO = ModelConfig(name='fcn_dino_vits16', output_dim=3, width=0.125, blocks=(2,))


def dino_file(model, path, prefix='', **more):
  """A trunk's values as the public files have them."""
  arrays = dict(more)
  for name, variable in variable_names(model).items():
    if dino_name(name):
      value = variable.numpy()
      if name.endswith(('/cls_token', '/pos_embed')):
        value = value[np.newaxis]
      elif value.ndim > 1:
        value = value.transpose(-1, -2, *range(value.ndim - 2))
      arrays[prefix + dino_name(name)] = value
  np.savez(path, **arrays)
  return str(path)


@pytest.mark.parametrize('prefix', ['', 'module.backbone.'])
def test_a_public_transformer_computes_what_it_computed(tmp_path, prefix):
  theirs = build_model(DINO)
  for variable in theirs.variables:
    variable.assign(variable + np.random.default_rng(0).normal(size=variable.shape) * 0.1)
  path = dino_file(theirs, tmp_path / 'dino.npz', prefix, mask_token=np.zeros([1, 48]),
                   **{'head.mlp.0.weight': np.ones([3, 48])})
  assert config_for(path, DINO) == DINO
  model = build_model(dataclasses.replace(DINO, name='features_dino_vits16', output_dim=None),
                      seed=1)
  report = restore_model(model, path)
  assert set(report.loaded) == set(values(model)) and not report.missing
  assert set(report.skipped) == {'head.mlp.0.weight', 'mask_token'}
  expected = keras.Model(
      theirs.input, theirs.get_layer('dino_vits16.block5.fc1_voc12').input)(IMAGE, training=False)
  np.testing.assert_allclose(model(IMAGE, training=False), expected, atol=1e-6)
  below = build_model(DINO, seed=1)
  assert set(restore_model(below, path).missing) == {
      name for name in values(below) if is_head(name)}


@pytest.mark.parametrize('change, message', [
    ({'blocks': (1,)}, r'12 arrays of a deeper or another trunk, blocks.1.attn'),
    ({'blocks': (3,)}, r'12 of its 42 variables of the trunk are missing there'),
    ({'name': 'fcn_dino_vits8'}, 'have another shape: dino_vits8/pos_embed is'),
    ({'name': 'fcn_dinov2_vits14'}, 'missing there, dinov2_vits14/blocks/0/ls1/gamma for one')])
def test_a_transformer_of_another_shape_is_refused(tmp_path, change, message):
  path = dino_file(build_model(DINO), tmp_path / 'dino.npz')
  other = build_model(ModelConfig(**{
      'name': DINO.name, 'output_dim': 3, 'width': 0.125, 'blocks': (2,), **change}))
  with pytest.raises(ValueError, match=f'dino.npz: a file of named arrays.*{message}'):
    restore_model(other, path)


def test_registers_are_refused(tmp_path):
  model = build_model(DINO)
  path = dino_file(model, tmp_path / 'dino.npz', register_tokens=np.zeros([1, 4, 48], np.float32))
  with pytest.raises(ValueError, match='another trunk, register_tokens for one'):
    restore_model(model, path)
