"""Files as PyTorch writes them, made here byte by byte, and files that are made to do harm."""

import struct
import zipfile

import numpy as np
import pytest

from utils import torch_files
from utils.tensor_pickles_test import (
    BUILD,
    EMPTY_LIST,
    EMPTY_TUPLE,
    FALSE,
    MARK,
    NONE,
    ORDERED,
    STOP,
    TUPLE,
    call,
    dictionary,
    harmful_pickles,
    number,
    numbers,
    text,
    word,
)
from utils.torch_files import open_torch

RANDOM = np.random.default_rng(0)
ARRAYS = {
    'cls_token': RANDOM.normal(size=(1, 1, 4)).astype(np.float32),
    'norm.bias': RANDOM.normal(size=3), 'half': np.array([0.5, 65504], np.float16),
    'count': np.array(7, np.int64), 'empty': np.zeros((0, 3), np.float32)}
KINDS = {'float32': 'Float', 'float64': 'Double', 'float16': 'Half', 'int64': 'Long'}
class Writer:
  """Collects the values of tensors while a pickle is put together."""

  def __init__(self, legacy=False):
    self.storages = {}
    self._view = NONE if legacy else b''

  def storage(self, data, kind, count, key=None):
    key = str(len(self.storages)) if key is None else key
    self.storages[key] = data, count
    return MARK + text('storage') + word('torch', f'{kind}Storage') + text(key) + text('cpu') + (
        number(count) + self._view + TUPLE + b'Q')

  def view(self, storage, offset, shape, strides):
    return call(word('torch._utils', '_rebuild_tensor_v2'), storage, number(offset), numbers(shape),
                numbers(strides), FALSE, ORDERED)

  def tensor(self, value):
    storage = self.storage(value.tobytes(), KINDS[value.dtype.name], value.size)
    strides = [step // value.itemsize for step in value.strides]
    return self.view(storage, 0, value.shape, strides)


def state(writer, arrays=ARRAYS):
  """The pickle of a state dict with the attribute that PyTorch gives it."""
  inner = dictionary({name: writer.tensor(value) for name, value in arrays.items()}, ORDERED)
  return inner + dictionary({'_metadata': ORDERED}) + BUILD


def write(path, root, storages, folder='archive', compression=zipfile.ZIP_STORED, **parts):
  with zipfile.ZipFile(path, 'w', compression) as archive:
    archive.writestr(f'{folder}/data.pkl', b'\x80\x02' + root + STOP)
    for name, value in {'byteorder': b'little', **parts}.items():
      archive.writestr(f'{folder}/{name}', value)
    for key, (data, _) in storages.items():
      archive.writestr(f'{folder}/data/{key}', data)
  return path


def write_legacy(path, root, storages, little=b'\x88'):
  pickles = (number(torch_files._MAGIC), number(torch_files._PROTOCOL),
             dictionary({'protocol_version': number(1001), 'little_endian': little}), root,
             EMPTY_LIST + MARK + b''.join(map(text, storages)) + b'e')
  with open(path, 'wb') as file:
    for value in pickles:
      file.write(b'\x80\x02' + value + STOP)
    for data, count in storages.values():
      file.write(struct.pack('<q', count) + data)
  return path


@pytest.mark.parametrize('save', [write, write_legacy])
def test_what_pytorch_writes_is_read(tmp_path, save):
  writer = Writer(legacy=save is write_legacy)
  root = state(writer)
  shapes, read = open_torch(save(tmp_path / 'a.pth', root, writer.storages))
  assert shapes == {name: value.shape for name, value in ARRAYS.items()}
  for name, value in ARRAYS.items():
    np.testing.assert_array_equal(read(name), value)
    assert read(name).dtype == value.dtype


def test_tensors_are_views_of_their_storages(tmp_path):
  writer = Writer()
  value = np.arange(12, dtype=np.float32)
  storage = writer.storage(value.tobytes(), 'Float', 12)
  parameter = call(word('torch._utils', '_rebuild_parameter'),
                   writer.view(storage, 2, (3, 2), (1, 4)), b'\x88', ORDERED)
  upper = (value[:3].view(np.uint32) >> 16).astype('<u2')
  brain = writer.view(writer.storage(upper.tobytes(), 'BFloat16', 3), 0, (3,), (1,))
  shapes, read = open_torch(write(
      tmp_path / 'a.pth', dictionary({'a': parameter, 'b': brain, 'epoch': number(3)}),
      writer.storages))
  assert shapes == {'a': (3, 2), 'b': (3,)}
  np.testing.assert_array_equal(read('a'), [[2, 6], [3, 7], [4, 8]])
  np.testing.assert_array_equal(read('b'), [0, 1, 2])


def test_memo_and_options_of_a_training_scripts_checkpoint(tmp_path):
  """The teacher of DINO's own checkpoints: names of two modules around it, options beside it."""
  writer = Writer()
  options = word('argparse', 'Namespace') + EMPTY_TUPLE + b'\x81' + dictionary(
      {'lr': b'G' + struct.pack('>d', 0.5)}) + BUILD
  student = dictionary({'module.backbone.norm.bias': writer.tensor(ARRAYS['half'])})
  teacher = dictionary({'module.backbone.norm.bias': writer.tensor(ARRAYS['norm.bias']) + b'q\x05',
                        'head.0.weight': b'h\x05'})
  path = write(tmp_path / 'a.pth', dictionary({
      'student': student, 'teacher': teacher, 'args': options,
      'optimizer': dictionary({'state': dictionary({0: NONE})})}), writer.storages)
  shapes, read = open_torch(path)
  assert set(shapes) == {'norm.bias', 'head.0.weight'}
  np.testing.assert_array_equal(read('norm.bias'), ARRAYS['norm.bias'])
  np.testing.assert_array_equal(read('head.0.weight'), ARRAYS['norm.bias'])
  assert set(open_torch(path, 'student')[0]) == {'module.backbone.norm.bias'}
  with pytest.raises(ValueError, match="no entry 'model' of tensors, only student, teacher, opt"):
    open_torch(path, 'model')
  with pytest.raises(ValueError, match='there are no named tensors'):
    open_torch(path, 'optimizer')


@pytest.mark.parametrize('name', ['system', 'posix', 'protocol 4', 'persistent id', 'nothing'])
@pytest.mark.parametrize('save', [write, write_legacy])
def test_a_harmful_file_does_nothing(tmp_path, save, name):
  target = tmp_path / 'touched'
  with pytest.raises(ValueError, match='a.pth is not a .pth file of tensors alone'):
    open_torch(save(tmp_path / 'a.pth', harmful_pickles(target)[name], {}))
  assert not target.exists()


@pytest.mark.parametrize('root', [EMPTY_LIST, number(5), dictionary({}), dictionary({1: NONE})])
def test_a_file_of_no_named_tensors_is_told(tmp_path, root):
  with pytest.raises(ValueError, match='no dict of tensors|there are no named tensors'):
    open_torch(write(tmp_path / 'a.pth', root, {}))


@pytest.mark.parametrize('count, offset, shape, strides', [
    (6, 0, (7,), (1,)), (6, 1, (6,), (1,)), (6, 0, (2, 2), (5, 1)), (6, 0, (10 ** 9,), (0,)),
    (6, -1, (2,), (1,)), (6, 0, (-2,), (1,)), (6, 0, (2,), (-1,)), (6, 0, (2, 3), (1,)),
    (6, 6, (), ()), (10 ** 12, 0, (2,), (1,)), (5, 0, (2,), (1,)), (-6, 0, (2,), (1,)),
    (6, 0, (1,), (2 ** 70,)), (6, 0, (0, 2 ** 70), (1, 1))])
@pytest.mark.parametrize('save', [write, write_legacy])
def test_sizes_that_lie_are_told(tmp_path, save, count, offset, shape, strides):
  writer = Writer(legacy=save is write_legacy)
  storage = writer.storage(bytes(24), 'Float', count)
  root = dictionary({'a': writer.view(storage, offset, shape, strides)})
  writer.storages = {'0': (bytes(24), 6)}
  with pytest.raises(ValueError, match='a.pth is not a .pth file of tensors alone'):
    open_torch(save(tmp_path / 'a.pth', root, writer.storages))


@pytest.mark.parametrize('key', ['../data.pkl', '/etc/passwd', '', '0/../1', '٣'])
def test_keys_are_no_paths(tmp_path, key):
  writer = Writer()
  storage = writer.storage(bytes(8), 'Float', 2, key)
  root = dictionary({'a': writer.view(storage, 0, (2,), (1,))})
  with pytest.raises(ValueError, match='something else than the values of a tensor'):
    open_torch(write(tmp_path / 'a.pth', root, {}))


def test_tricks_of_the_zip_are_told(tmp_path):
  writer = Writer()
  root = state(writer)

  def refused(message, **options):
    with pytest.raises(ValueError, match=message):
      open_torch(write(tmp_path / 'a.pth', root, **{'storages': writer.storages, **options}))
  refused('compressed', compression=zipfile.ZIP_DEFLATED)
  refused('not little-endian', byteorder=b'big')
  refused('no part archive/data/0', storages={})
  refused('has 0 parts', folder='../..')
  with pytest.warns(UserWarning, match='Duplicate name'):
    refused('the same name', **{'data/0': bytes(16)})
  path = write(tmp_path / 'b.pth', root, writer.storages)
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr('b/data.pkl', b'')
  with pytest.raises(ValueError, match='2 parts <name>/data.pkl'):
    open_torch(path)


@pytest.mark.parametrize('save', [write, write_legacy])
def test_damage_is_told(tmp_path, save):
  """Every change of a byte and every cut ends in an error that names the file, or in values."""
  writer = Writer(legacy=save is write_legacy)
  path = save(tmp_path / 'a.pth', state(writer), writer.storages)
  data = path.read_bytes()
  random = np.random.default_rng(0)
  failed = 0
  for index in range(300):
    changed = bytearray(data)
    if index % 3:
      changed[random.integers(len(data))] ^= 1 << random.integers(8)
    else:
      del changed[random.integers(len(data)):]
    path.write_bytes(changed)
    try:
      shapes, read = open_torch(path)
      for name in shapes:
        read(name)
    except (ValueError, OSError) as error:
      assert 'a.pth' in str(error)
      failed += 1
  assert failed > 100


def test_what_is_not_there_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match='a.pth'):
    open_torch(tmp_path / 'a.pth')
  (tmp_path / 'a.pth').write_bytes(b'')
  with pytest.raises(ValueError, match='a.pth is not a .pth file of tensors alone'):
    open_torch(tmp_path / 'a.pth')
