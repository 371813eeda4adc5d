import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from seg_models import inference_setup
from seg_models.inference_setup import DataConfig, NetworkConfig, SegmentConfig
from seg_models.models import ModelConfig, build_model, is_head, variable_names
from seg_models.windows import Windows
from utils import checkpoints

CONFIG = ModelConfig(
    name='pspnet_resnet50', output_dim=6, width=0.125, blocks=(1, 1, 1, 1), head_dim=16)


@pytest.fixture(scope='module')
def arrays():
  return {name: value.numpy() for name, value in variable_names(build_model(CONFIG)).items()}


def save(path, arrays, **metadata):
  checkpoints.save(str(path), arrays, {'model': dataclasses.asdict(CONFIG), **metadata})
  return NetworkConfig(restore_from=str(path))


def test_windows_are_used_on_request_only():
  assert NetworkConfig(input_size=(8, 9)).sliding_windows() is None
  assert NetworkConfig(windows=True).sliding_windows() == Windows((512, 512), (512, 512))
  assert NetworkConfig(windows=True, input_size=(8, 9), strides=(4, 5)).sliding_windows() == (
      Windows((8, 9), (4, 5)))
  assert NetworkConfig(windows=True, input_size=(480, 720)).sliding_windows() == (
      Windows((480, 720), (480, 512)))


@pytest.mark.parametrize('options, expected', [
    ({}, None),
    ({'windows': True, 'input_size': (8, 8)}, None),
    ({'input_size': (8, 8)}, '--input_size unused'),
    ({'input_size': (8, 8), 'strides': (4, 4)}, '--input_size and --strides unused'),
])
def test_flags_without_use_are_told_in_one_line(options, expected):
  line = NetworkConfig(**options).unused()
  assert line is None if expected is None else (line.startswith(expected) and '\n' not in line)


def test_missing_flags_are_all_named():
  inference_setup.require(a='x', b='y')
  with pytest.raises(ValueError, match='--save_dir, --data_list missing'):
    inference_setup.require(save_dir='', data_list=None, other='x')


STORED = {'name': 'camvid', 'num_classes': 11, 'ignore_label': 254}


def test_a_head_of_its_own_stride_covers_the_image(tmp_path):
  config = dataclasses.replace(CONFIG, name='deeplab_v3plus_resnet50')
  model = build_model(config)
  checkpoints.save(
      str(tmp_path / 'a'), {name: value.numpy() for name, value in variable_names(model).items()},
      {'model': dataclasses.asdict(config)})
  network = inference_setup.load_network(
      DataConfig(), NetworkConfig(restore_from=str(tmp_path / 'a')), 'segsort')
  image = np.random.default_rng(0).normal(0, 50, [1, 17, 24, 3]).astype(np.float32)
  output = network.dense(image)
  assert output.shape == (1, 17, 24, 6)
  np.testing.assert_allclose(output[:, ::4, ::4], model(image, training=False), atol=1e-3)


@pytest.mark.parametrize('flags, stored, expected', [
    ({}, {}, ('unnamed', 21, 255)),
    ({}, STORED, ('camvid', 11, 254)),
    ({'num_classes': 11, 'ignore_label': 255}, STORED, ('camvid', 11, 255)),
    ({'num_classes': 5}, STORED, ('unnamed', 5, 254)),
    ({'dataset': 'voc12'}, STORED, ('voc12', 21, 254)),
    ({}, {'name': None, 'num_classes': 4, 'ignore_label': 255}, ('unnamed', 4, 255)),
])
def test_flags_come_before_what_the_checkpoint_knows(arrays, tmp_path, flags, stored, expected):
  network = save(tmp_path / 'model.ckpt-1', arrays, dataset=stored)
  dataset = inference_setup.load_network(DataConfig(**flags), network, 'segsort').dataset
  assert (dataset.name, dataset.num_classes, dataset.ignore_label) == expected


def test_a_network_is_what_its_checkpoint_holds(arrays, tmp_path):
  tf.config.experimental.enable_tensor_float_32_execution(True)
  network = inference_setup.load_network(DataConfig(), save(
      tmp_path / 'model.ckpt-1', arrays, method='segsort', method_config={'location_weight': 0.5}),
      'segsort')
  model = build_model(CONFIG, seed=9)
  for name, variable in variable_names(model).items():
    variable.assign(arrays[name])
  image = np.random.default_rng(0).normal(0, 50, [1, 17, 24, 3]).astype(np.float32)
  output = network.dense(image)
  assert not tf.config.experimental.tensor_float_32_execution_enabled()
  assert network.dim == 6 and output.shape == (1, 17, 24, 6)
  np.testing.assert_allclose(output[:, ::8, ::8], model(image, training=False), atol=1e-4)
  assert inference_setup.segment_settings(SegmentConfig(), network).location_weight == 0.5
  assert inference_setup.segment_settings(
      SegmentConfig(location_weight=2.0), network).location_weight == 2.0


def test_segments_depend_on_the_region_options_where_they_use_regions():
  plain = SegmentConfig(num_clusters=3, location_weight=0.5, min_piece_share=0.2)
  assert plain.settings() == {
      'num_clusters': 3, 'kmeans_iterations': 10, 'location_weight': 0.5}
  assert plain.regions_read is None
  aligned = dataclasses.replace(plain, align_segments=True, max_regions=9)
  assert aligned.settings() == {
      **plain.settings(), 'initial_segments': 'grid', 'align_segments': True,
      'min_piece_share': 0.2}
  assert aligned.regions_read == 9


def test_other_weights_are_another_network_and_the_same_weights_the_same(arrays, tmp_path):
  def settings(name, values):
    return inference_setup.load_network(
        DataConfig(), save(tmp_path / name, values), 'segsort').settings
  one = settings('a.ckpt', arrays)
  assert one == settings('b.ckpt', arrays)
  assert one != settings('c.ckpt', {name: value + 1 for name, value in arrays.items()})


def test_a_file_without_the_head_is_refused(arrays, tmp_path):
  backbone = {name: value for name, value in arrays.items() if not is_head(name)}
  with pytest.raises(ValueError, match='holds no trained pspnet_resnet50'):
    inference_setup.load_network(
        DataConfig(), save(tmp_path / 'model.ckpt-1', backbone), 'segsort')


def test_a_head_that_the_file_lacks_is_random_when_asked_for(arrays, tmp_path):
  backbone = {name: value for name, value in arrays.items() if not is_head(name)}
  config = dataclasses.replace(
      save(tmp_path / 'model.ckpt-1', backbone), untrained_head=True)
  image = np.random.default_rng(3).normal(size=(1, 17, 24, 3)).astype(np.float32)
  one, same = (inference_setup.load_network(DataConfig(), config, 'segsort') for _ in range(2))
  assert one.settings['untrained_head'] is True
  np.testing.assert_array_equal(one.dense(image), same.dense(image))
  trained = {name: value * (1 + is_head(name)) for name, value in arrays.items()}
  whole = inference_setup.load_network(
      DataConfig(), save(tmp_path / 'model.ckpt-2', trained), 'segsort')
  assert 'untrained_head' not in whole.settings
  assert np.abs(whole.dense(image) - one.dense(image)).max() > 1e-3


def test_a_checkpoint_of_the_other_method_is_refused(arrays, tmp_path):
  network = save(tmp_path / 'a.ckpt', arrays, method='softmax')
  with pytest.raises(ValueError, match='of softmax: use inference.py'):
    inference_setup.load_network(DataConfig(), network, 'segsort')
  network = save(tmp_path / 'b.ckpt', arrays, method='segsort')
  with pytest.raises(ValueError, match='of segsort: use extract_prototypes.py'):
    inference_setup.load_network(DataConfig(), network, 'softmax')


def test_a_list_is_needed():
  with pytest.raises(ValueError, match='--data_list missing'):
    inference_setup.load_entries(DataConfig(), need_mask=False)
  with pytest.raises(ValueError, match='--restore_from missing'):
    inference_setup.load_network(DataConfig(), NetworkConfig(), 'segsort')
