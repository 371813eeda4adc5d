import os
import resource
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from utils import checkpoints

ARRAYS = {
    'resnet_v1_50/conv1/weights': np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3),
    'resnet_v1_50/conv1/BatchNorm/gamma': np.array([0.5, np.pi, -3], np.float32),
    'state/valid': np.array([[True, False]]),
    'step': np.int64(2 ** 40)}
METADATA = {'model': {'name': 'fcn_resnet50'}, 'step': 3, 'text': 'ü "quoted"'}
# Keras' own way of making NumPy arrays of its variables.
KERAS_WARNING = pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')
TRUNK = 'resnet_v1_50/block1/unit_1/bottleneck_v1/conv1/weights'


def assert_holds(archive, arrays):
  assert sorted(archive.names()) == sorted(arrays)
  for name, value in arrays.items():
    read = archive.read(name)
    assert archive.shape(name) == np.shape(value) and np.asarray(read).dtype == value.dtype
    np.testing.assert_array_equal(read, value)


def test_what_was_saved_is_read(tmp_path):
  prefix = tmp_path / 'new' / 'model.ckpt-3'
  checkpoints.save(prefix, ARRAYS, METADATA)
  archive = checkpoints.open_archive(prefix)
  assert_holds(archive, ARRAYS)
  assert (archive.kind, archive.metadata, archive.path) == ('segsort', METADATA, str(prefix))
  assert sorted(os.listdir(tmp_path / 'new')) == [
      'model.ckpt-3.data-00000-of-00001', 'model.ckpt-3.index']


def test_without_metadata_it_is_a_plain_checkpoint(tmp_path):
  checkpoints.save(tmp_path / 'a', ARRAYS)
  archive = checkpoints.open_archive(tmp_path / 'a')
  assert_holds(archive, ARRAYS)
  assert (archive.kind, archive.metadata) == ('tf', {})


def test_a_tf1_saver_reads_ours(tmp_path):
  checkpoints.save(tmp_path / 'a', ARRAYS, METADATA)
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    name = 'resnet_v1_50/conv1/weights'
    variable = tf.compat.v1.get_variable(name, ARRAYS[name].shape)
    tf.compat.v1.train.Saver([variable]).restore(session, str(tmp_path / 'a'))
    np.testing.assert_array_equal(session.run(variable), ARRAYS[name])


@pytest.mark.parametrize('version', ['V1', 'V2'])
@pytest.mark.parametrize('extra, kind', [
    ('resnet_v1_50/logits/weights', 'slim'),
    ('resnet_v1_50/block5/fc1_voc12/weights', 'original'),
    ('resnet_v1_50/fc1_c0/weights', 'original')])
def test_files_of_tf1_savers_are_read_and_told_apart(tmp_path, version, extra, kind):
  arrays = {TRUNK: ARRAYS['resnet_v1_50/conv1/weights'], extra: np.ones([2], np.float32)}
  path = str(tmp_path / 'resnet_v1_50.ckpt')
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    variables = {
        name: tf.compat.v1.get_variable(name, initializer=value)
        for name, value in arrays.items()}
    session.run(tf.compat.v1.global_variables_initializer())
    tf.compat.v1.train.Saver(variables, write_version=getattr(tf.compat.v1.train.SaverDef, version)
                             ).save(session, path, write_meta_graph=False)
  assert os.path.exists(path) == (version == 'V1')
  archive = checkpoints.open_archive(path)
  assert archive.kind == kind
  assert_holds(archive, arrays)


@pytest.mark.parametrize('ending', ['.index', '.data-00000-of-00001', '.meta'])
def test_any_of_its_files_names_a_checkpoint(tmp_path, ending):
  checkpoints.save(tmp_path / 'model.ckpt-3', ARRAYS, METADATA)
  assert checkpoints.open_archive(tmp_path / f'model.ckpt-3{ending}').metadata == METADATA


def test_the_description_says_what_the_file_looks_like(tmp_path):
  checkpoints.save(tmp_path / 'a', ARRAYS, METADATA)
  assert checkpoints.open_archive(tmp_path / 'a').describe() == (
      'a checkpoint of this project of fcn_resnet50 with 4 arrays '
      '(resnet_v1_50/conv1/BatchNorm/gamma, resnet_v1_50/conv1/weights, state/valid, ...)')


@pytest.mark.parametrize('name', ['model.ckpt-9', 'weights.h5', 'model.keras'])
def test_a_missing_file_is_told(tmp_path, name):
  with pytest.raises(FileNotFoundError, match=name):
    checkpoints.open_archive(tmp_path / name)


def test_a_folder_is_told(tmp_path):
  with pytest.raises(ValueError, match='is a folder: name a checkpoint in it'):
    checkpoints.open_archive(tmp_path)


@pytest.mark.parametrize('name', ['a.ckpt', 'a.index', 'a.h5', 'a.keras'])
@pytest.mark.parametrize('content', [b'', b'neither one nor the other' * 100])
def test_other_files_are_told(tmp_path, name, content):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(ValueError, match='a.*(neither|is not) a'):
    checkpoints.open_archive(tmp_path / name)


def test_a_truncated_checkpoint_is_an_error_at_the_array(tmp_path):
  arrays = {'a': np.ones([1000], np.float32), 'b': np.ones([1000], np.float32)}
  checkpoints.save(tmp_path / 'c', arrays)
  os.truncate(tmp_path / 'c.data-00000-of-00001', 6000)
  archive = checkpoints.open_archive(tmp_path / 'c')
  np.testing.assert_array_equal(archive.read('a'), arrays['a'])
  with pytest.raises(OSError, match='c: b cannot be read, the file is damaged'):
    archive.read('b')


def test_a_changed_byte_is_an_error(tmp_path):
  checkpoints.save(tmp_path / 'c', {'a': np.ones([1000], np.float32)})
  with open(tmp_path / 'c.data-00000-of-00001', 'r+b') as file:
    file.seek(2000)
    file.write(b'x')
  with pytest.raises(OSError, match='damaged'):
    checkpoints.open_archive(tmp_path / 'c').read('a')


def listing(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_leaves_older_checkpoints_and_nothing_else(tmp_path):
  checkpoints.save(tmp_path / 'model.ckpt-1', ARRAYS, METADATA)
  before = listing(tmp_path)
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  # Files may not grow beyond this, as if the disk were full (CPython ignores the signal).
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
  try:
    with pytest.raises(OSError, match='model.ckpt-2: the checkpoint cannot be written .*make room'):
      checkpoints.save(tmp_path / 'model.ckpt-2', {'a': np.zeros([1_000_000], np.float32)}, {})
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert listing(tmp_path) == before


@pytest.mark.parametrize('ending', ['.data-00000-of-00001', '.index'])
@pytest.mark.parametrize('error', [OSError('no space left'), KeyboardInterrupt()])
def test_a_failure_between_the_two_files_leaves_neither(tmp_path, monkeypatch, ending, error):
  replace = os.replace

  def failing(source, target):
    if str(target).endswith(ending):
      raise error
    replace(source, target)
  monkeypatch.setattr(os, 'replace', failing)
  with pytest.raises(type(error)):
    checkpoints.save(tmp_path / 'model.ckpt-2', ARRAYS, METADATA)
  assert listing(tmp_path) == {}


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(OSError, match='model.ckpt-1: the checkpoint cannot be written'):
    checkpoints.save(tmp_path / 'file' / 'model.ckpt-1', ARRAYS, METADATA)


def save_numbers(folder, *numbers):
  for number in numbers:
    checkpoints.save(folder / f'model.ckpt-{number}', {'step': np.int64(number)})


def test_the_newest_are_kept_by_number(tmp_path):
  assert checkpoints.latest(tmp_path) is None
  save_numbers(tmp_path, 1, 2, 10, 100)
  (tmp_path / 'model.ckpt-2.txt').write_text('goes with its checkpoint')
  (tmp_path / 'other.ckpt-1.index').write_text('')
  checkpoints.update_state(tmp_path, tmp_path / 'model.ckpt-100', keep=2)
  assert sorted(os.listdir(tmp_path)) == [
      'checkpoint', 'model.ckpt-10.data-00000-of-00001', 'model.ckpt-10.index',
      'model.ckpt-100.data-00000-of-00001', 'model.ckpt-100.index', 'other.ckpt-1.index']
  assert checkpoints.latest(tmp_path) == tmp_path / 'model.ckpt-100'
  state = tf.train.get_checkpoint_state(str(tmp_path))
  assert state.model_checkpoint_path == str(tmp_path / 'model.ckpt-100')
  assert list(state.all_model_checkpoint_paths) == [
      str(tmp_path / 'model.ckpt-10'), str(tmp_path / 'model.ckpt-100')]


def test_the_checkpoint_just_written_is_never_removed(tmp_path):
  save_numbers(tmp_path, 1, 5, 6)
  checkpoints.update_state(tmp_path, tmp_path / 'model.ckpt-1', keep=1)
  assert checkpoints.latest(tmp_path) == tmp_path / 'model.ckpt-1'
  assert not (tmp_path / 'model.ckpt-5.index').exists()


def test_a_state_file_of_a_tf1_saver_is_read(tmp_path):
  save_numbers(tmp_path, 7)
  (tmp_path / 'checkpoint').write_text(
      f'model_checkpoint_path: "{tmp_path}/model.ckpt-7"\n'
      f'all_model_checkpoint_paths: "{tmp_path}/model.ckpt-7"\n')
  assert checkpoints.latest(tmp_path) == tmp_path / 'model.ckpt-7'


@pytest.mark.parametrize('text, message', [
    ('', 'is damaged'), ('model_checkpoint_path: "model.ckpt-9"\n', 'model.ckpt-9, which is miss')])
def test_a_wrong_state_file_is_told(tmp_path, text, message):
  (tmp_path / 'checkpoint').write_text(text)
  with pytest.raises(ValueError, match=message):
    checkpoints.latest(tmp_path)


def keras_model():
  images = keras.Input([8, 8, 3])
  x = keras.layers.Conv2D(4, 3, name='with_bias')(images)
  x = keras.layers.BatchNormalization(name='norm')(x)
  x = keras.layers.DepthwiseConv2D(3, use_bias=False, name='depth')(x)
  model = keras.Model(images, x)
  random = np.random.default_rng(0)
  for variable in model.variables:
    variable.assign(random.uniform(size=variable.shape))
  return model


def keras_arrays(model):
  return {variable.path: variable.numpy() for variable in model.variables}


@KERAS_WARNING
@pytest.mark.parametrize('ending', ['.weights.h5', '.keras'])
def test_keras_3_files_are_read(tmp_path, ending):
  model = keras_model()
  model.compile('sgd', 'mse')
  model.fit(np.zeros([1, 8, 8, 3]), np.zeros([1, 4, 4, 4]), verbose=0)  # an optimizer to be stored
  path = str(tmp_path / f'a{ending}')
  (model.save_weights if ending == '.weights.h5' else model.save)(path)
  archive = checkpoints.open_archive(path)
  assert archive.kind == 'keras'
  assert_holds(archive, keras_arrays(model))


def test_keras_2_files_are_read(tmp_path):
  arrays = keras_arrays(keras_model())
  with h5py.File(tmp_path / 'a.h5', 'w') as file:
    for name, value in arrays.items():
      layer, part = name.split('/')
      part = {'depth': 'depthwise_kernel'}.get(layer, part)
      file[f'{layer}/{layer}/{part}:0'] = value
  assert_holds(checkpoints.open_archive(tmp_path / 'a.h5'), arrays)


def test_keras_files_without_names_are_told(tmp_path):
  with h5py.File(tmp_path / 'a.weights.h5', 'w') as file:
    file['layers/conv2d/vars/0'] = np.ones([3])
  with pytest.raises(ValueError, match='a.weights.h5.*no names of layers.*save the weights again'):
    checkpoints.open_archive(tmp_path / 'a.weights.h5')


@KERAS_WARNING
def test_a_truncated_keras_file_is_told(tmp_path):
  keras_model().save_weights(tmp_path / 'a.weights.h5')
  os.truncate(tmp_path / 'a.weights.h5', os.path.getsize(tmp_path / 'a.weights.h5') - 100)
  with pytest.raises(ValueError, match='a.weights.h5 is not a Keras weight file, or it is damaged'):
    checkpoints.open_archive(tmp_path / 'a.weights.h5')


def test_a_zip_file_without_weights_is_told(tmp_path):
  with zipfile.ZipFile(tmp_path / 'a.keras', 'w') as file:
    file.writestr('config.json', '{}')
  with pytest.raises(ValueError, match='a.keras is not a Keras weight file'):
    checkpoints.open_archive(tmp_path / 'a.keras')


def test_latest_falls_back_to_an_older_checkpoint_that_is_there(tmp_path):
  for step in (1, 2, 3):
    checkpoints.save(tmp_path / f'model.ckpt-{step}', {'a': np.zeros(2)}, {'step': step})
    checkpoints.update_state(tmp_path, tmp_path / f'model.ckpt-{step}', keep=10)
  (tmp_path / 'model.ckpt-3.index').unlink()
  assert checkpoints.latest(tmp_path).name == 'model.ckpt-2'


def test_what_a_killed_save_left_is_removed_by_the_next(tmp_path):
  left = tmp_path / '.model.ckpt-1.123.tmp.data-00000-of-00001'
  left.write_bytes(b'half')
  checkpoints.save(tmp_path / 'model.ckpt-2', {'a': np.zeros(2)}, {})
  checkpoints.update_state(tmp_path, tmp_path / 'model.ckpt-2', keep=1)
  assert not left.exists()
