import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from network.common.layers import resize_bilinear
from seg_models.datasets import dataset_for
from seg_models.frozen import trained
from seg_models.frozen.geometry import Geometry
from seg_models.frozen.methods import FROZEN_METHODS
from seg_models.frozen.trained import (
  Trained,
  interpolation,
  load_trained,
  log_probs_in_stripes,
  predict,
)
from seg_models.inference_setup import DataConfig, NetworkConfig, load_network
from seg_models.models import ModelConfig, build_model, variable_names
from seg_models.models.restoring import config_for
from utils import checkpoints, resuming
from utils.shared_data import shared


def test_a_code_is_interpolated_as_a_whole_image_would_be(monkeypatch):
  monkeypatch.setattr(trained, '_STRIPE', 4)
  code = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
  for size in ((11, 20), (3, 5), (2, 4)):
    stripes = list(log_probs_in_stripes(lambda x: 2 * x, code, size))
    expected = 2 * resize_bilinear(code[None], size)[0]
    np.testing.assert_allclose(tf.concat(stripes, 0), expected, atol=1e-5)
    assert max(len(stripe) for stripe in stripes) <= 4
  found = predict(lambda x: x, code, (11, 20))
  np.testing.assert_array_equal(found, resize_bilinear(code[None], (11, 20))[0].numpy().argmax(-1))
  assert found.dtype == np.int32


def test_weights_of_interpolation_sum_to_one():
  for lengths in ((4, 9), (9, 4), (1, 3)):
    np.testing.assert_allclose(interpolation(*lengths).sum(1), 1, rtol=1e-6)


def test_the_interpolation_is_the_originals():
  with np.load(shared('reference', 'stego.npz')) as file:
    code, flipped, expected = (np.moveaxis(file[f'eval/{name}'], 1, -1) for name in (
        'code', 'code_of_flipped', 'code_up_f64'))
  mean = (code[0] + flipped[0][:, ::-1]) / 2
  found = tf.concat(list(log_probs_in_stripes(lambda x: x, mean, expected.shape[1:3])), 0)
  np.testing.assert_allclose(found, expected[0], atol=1e-5)


class Trunk:
  """Features are every fourth pixel's colours."""
  channels, stride = 3, 4
  settings = {}

  def __call__(self, images):
    return tf.constant(images[:, ::4, ::4], tf.float32)


def test_codes_are_averaged_over_an_image_and_its_mirror_image():
  method = FROZEN_METHODS['dino_kmeans'](
      FROZEN_METHODS['dino_kmeans'].build_head(3, None, 0), dataset_for(None, 3),
      FROZEN_METHODS['dino_kmeans'].Config(), 1, 0)
  whole = Trained(method, {}, Trunk(), dataset_for(None, 3), True, 'bilinear', {})
  image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
  np.testing.assert_array_equal(whole.code(image, flip=False), image[::4, ::4])
  mirrored = image[:, ::-1][::4, ::4][:, ::-1].astype(np.float32)
  np.testing.assert_allclose(whole.code(image), (image[::4, ::4] + mirrored) / 2)
  assert list(whole.probes()) == ['clusters', 'linear']
  unlabelled = dataclasses.replace(whole, labelled=False)
  assert list(unlabelled.probes()) == ['clusters']


def test_an_edge_is_predicted_where_it_is():
  """Whatever the width; of cells that hang over the last column it was half a cell away."""
  class Means(Trunk):
    stride = 8

    def __call__(self, images):
      short = -np.array(images.shape[1:3]) % 8
      images = np.pad(images, [(0, 0), (0, short[0]), (0, short[1]), (0, 0)], 'edge')
      cells = images.reshape(len(images), images.shape[1] // 8, 8, images.shape[2] // 8, 8, 3)
      return tf.constant(cells.mean((2, 4)), tf.float32)

  method_class = FROZEN_METHODS['dino_kmeans']
  method = method_class(method_class.build_head(3, None, 0), dataset_for(None, 3),
                        method_class.Config(), 1, 0)
  whole = Trained(method, {}, Means(), dataset_for(None, 3), False, 'bilinear', {})
  image = np.zeros((96, 130, 3), np.uint8)
  image[:, 120:] = 255
  whole_cells = Geometry(96, 'none').image(image, 8)
  for shown, flip in itertools.product((whole_cells, image), (False, True)):
    code = whole.code(shown, flip)
    bright = np.concatenate(list(log_probs_in_stripes(lambda x: x, code, image.shape[:2])))[..., 0]
    assert abs((bright > 127.5).argmax(1) - 120).max() <= 1


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A folder with the checkpoint of a linear probe and its trunk's weights."""
  folder = tmp_path_factory.mktemp('run')
  config = ModelConfig('features_resnet50', width=0.125, blocks=(1, 1, 1, 1))
  checkpoints.save(folder / 'trunk', {
      name: value.numpy() for name, value in variable_names(build_model(config)).items()},
      {'model': dataclasses.asdict(config)})
  write(folder, config, str(folder / 'trunk'))
  return folder


def write(folder, config, weights_of, **changes):
  method_class = FROZEN_METHODS['dino_linear']
  method = method_class(
      method_class.build_head(config.output_dim, None, 5), dataset_for(None, 3),
      method_class.Config(), 1, 5)
  metadata = {
      'method': 'dino_linear', 'method_config': {},
      'head': {'channels': config.output_dim, 'seed': 5},
      'trunk': {'model': dataclasses.asdict(config), 'precision': 'float32', 'shift': 4,
                'weights': resuming.fingerprint(weights_of), 'path': weights_of,
                'config': {'backbone': 'resnet50', 'restore_from': weights_of}},
      'geometry': {'resampling': 'nearest'},
      'dataset': {'name': None, 'num_classes': 3, 'ignore_label': 255, 'labelled': True}}
  metadata['trunk'].update(changes)
  prefix = folder / 'model.ckpt-7'
  checkpoints.save(prefix, {name: value.numpy() + 1 for name, value in method.variables().items()},
                   metadata)
  checkpoints.update_state(folder, prefix, keep=1)


def test_a_run_is_restored_with_its_trunk(run):
  found = load_trained(str(run))
  assert found.method.name == 'dino_linear' and found.resampling == 'nearest'
  stored = checkpoints.open_archive(run / 'model.ckpt-7')
  for name, variable in found.method.variables().items():
    np.testing.assert_array_equal(variable.numpy(), stored.read(name))
  code = found.code(np.zeros((16, 24, 3), np.uint8))
  assert code.shape == (2, 3, found.trunk.channels)
  assert predict(found.probes()['linear'], code, (16, 24)).shape == (16, 24)


def test_other_scripts_say_which_one_to_use(run):
  prefix = str(run / 'model.ckpt-7')
  for method in ('softmax', 'segsort'):
    with pytest.raises(ValueError, match='of dino_linear.*inference_clusters.py'):
      load_network(DataConfig(), NetworkConfig(restore_from=prefix), method)
  with pytest.raises(ValueError, match='is a head on frozen features.*trunk'):
    config_for(prefix, ModelConfig())


def test_what_is_no_such_run_is_said(run, tmp_path):
  with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
    load_trained(str(tmp_path))
  with pytest.raises(ValueError, match='not a head on frozen features'):
    load_trained(str(run / 'trunk'))
  config = ModelConfig('features_resnet50', width=0.125, blocks=(1, 1, 1, 1))
  write(tmp_path, config, str(run / 'trunk'), path=str(tmp_path / 'moved'))
  with pytest.raises(FileNotFoundError, match='moved: the weights of .*--trunk_from'):
    load_trained(str(tmp_path))
  assert load_trained(str(tmp_path), str(run / 'trunk')).method.name == 'dino_linear'
  write(tmp_path, config, str(run / 'trunk'), weights='others')
  with pytest.raises(ValueError, match='holds other weights.*--trunk_from'):
    load_trained(str(tmp_path))
