"""Files of named arrays, whole and damaged; `.safetensors` is written here from its description."""

import json

import numpy as np
import pytest

from utils import checkpoints
from utils.named_arrays import open_arrays, write_safetensors

ARRAYS = {
    'a.weight': np.arange(24, dtype=np.float32).reshape(2, 3, 4), 'a.bias': np.array([1.5, -2.0]),
    'half': np.array([0.5, 65504], np.float16), 'count': np.array(7, np.int64),
    'empty': np.zeros((0, 3), np.float32)}
NAMES = {'float32': 'F32', 'float64': 'F64', 'float16': 'F16', 'int64': 'I64'}


def described_safetensors(path, arrays, **changes):
  header, data = {'__metadata__': {'format': 'pt'}}, b''
  for name, value in arrays.items():
    header[name] = {'dtype': NAMES[value.dtype.name], 'shape': value.shape,
                    'data_offsets': [len(data), len(data) + value.nbytes], **changes.get(name, {})}
    data += value.tobytes()
  text = json.dumps(header).encode()
  path.write_bytes(len(text).to_bytes(8, 'little') + text + data)
  return path


def write_npz(path, arrays):
  np.savez(path, **arrays)
  return path


def write_ours(path, arrays):
  write_safetensors(path, arrays)
  return path


@pytest.mark.parametrize('write, name', [
    (write_npz, 'w.npz'), (described_safetensors, 'w.safetensors'), (write_ours, 'w.safetensors')])
def test_what_was_written_is_read(tmp_path, write, name):
  shapes, read = open_arrays(write(tmp_path / name, ARRAYS))
  assert shapes == {name: value.shape for name, value in ARRAYS.items()}
  for name, value in ARRAYS.items():
    np.testing.assert_array_equal(read(name), value)
    assert read(name).dtype == value.dtype


def test_bfloat16_becomes_float32(tmp_path):
  value = np.array([1.0, -2.5, 3e38], np.float32)
  upper = (value.view(np.uint32) >> 16).astype(np.uint16).view(np.float16)
  path = described_safetensors(tmp_path / 'a.safetensors', {'x': upper}, x={'dtype': 'BF16'})
  np.testing.assert_allclose(open_arrays(path)[1]('x'), value, rtol=2 ** -7)


def test_an_archive_tells_what_it_is(tmp_path):
  path = write_npz(tmp_path / 'w.npz', ARRAYS)
  archive = checkpoints.open_archive(path)
  assert archive.kind == 'arrays' and archive.metadata == {}
  assert archive.describe() == 'a file of named arrays with 5 arrays (a.bias, a.weight, count, ...)'


@pytest.mark.parametrize('name', ['hrnet.npz', 'hrnet.safetensors'])
def test_a_missing_file_says_where_one_comes_from(tmp_path, name):
  with pytest.raises(FileNotFoundError, match=(
      rf'{name}: no such weight file.*huggingface.co/timm/hrnet_w18.*HRNet-Image-Classification')):
    checkpoints.open_archive(tmp_path / name)


def test_a_missing_transformer_says_where_one_comes_from(tmp_path):
  with pytest.raises(FileNotFoundError, match=(
      r'a.safetensors: .*https://dl.fbaipublicfiles.com/dino/dino_deitsmall8_300ep_pretrain/.*'
      r'pyscripts/data/convert_weights.py FILE.pth')):
    checkpoints.open_archive(tmp_path / 'a.safetensors')


def test_pytorchs_own_file_says_how_to_convert_it(tmp_path):
  with pytest.raises(ValueError, match=(
      r"dino.w.pth: PyTorch's own .* convert it first: python pyscripts/data/convert_weights.py "
      r'\S+/dino.w.pth \S+/dino.w.safetensors$')):
    checkpoints.open_archive(tmp_path / 'dino.w.pth')


def test_arrays_written_are_little_endian_aligned_and_in_their_order(tmp_path):
  value = np.arange(6, dtype='>f4').reshape(2, 3)
  write_safetensors(tmp_path / 'a.safetensors', {'b': value, 'a': value.T})
  shapes, read = open_arrays(tmp_path / 'a.safetensors')
  assert list(shapes) == ['b', 'a']
  np.testing.assert_array_equal(read('a'), value.T)
  np.testing.assert_array_equal(read('b'), value)
  data = (tmp_path / 'a.safetensors').read_bytes()
  assert (8 + int.from_bytes(data[:8], 'little')) % 8 == 0
  with pytest.raises(ValueError, match='a.safetensors: c is of the type complex128'):
    write_safetensors(tmp_path / 'a.safetensors', {'c': value.astype(complex)})
  assert (tmp_path / 'a.safetensors').read_bytes() == data


@pytest.mark.parametrize('changes, message', [
    ({'a.weight': {'dtype': 'F8_E4M3'}}, 'a.weight is of the type F8_E4M3'),
    ({'a.weight': {'shape': [2, 3, 5]}}, r'a.weight of shape \(2, 3, 5\) does not fit'),
    ({'a.weight': {'shape': [-2, -12]}}, 'does not fit'),
    ({'a.weight': {'data_offsets': [96, 0]}}, 'does not fit'),
    ({'a.weight': {'data_offsets': None}}, 'damaged'),
    ({'empty': {'data_offsets': [9999, 9999]}}, 'cut short')])
def test_a_wrong_header_is_told(tmp_path, changes, message):
  path = described_safetensors(tmp_path / 'a.safetensors', ARRAYS, **changes)
  with pytest.raises(ValueError, match=f'a.safetensors.*{message}'):
    open_arrays(path)


@pytest.mark.parametrize('content', [
    b'', b'abc', (10).to_bytes(8, 'little') + b'x' * 10, (2 ** 63).to_bytes(8, 'little'),
    (2).to_bytes(8, 'little') + b'[]'])
def test_what_is_no_safetensors_is_told(tmp_path, content):
  path = tmp_path / 'a.safetensors'
  path.write_bytes(content)
  with pytest.raises(ValueError, match='a.safetensors is not a .safetensors file'):
    open_arrays(path)


def test_a_file_cut_short_is_told(tmp_path):
  path = described_safetensors(tmp_path / 'a.safetensors', ARRAYS)
  _, read = open_arrays(path)
  path.write_bytes(path.read_bytes()[:-20])
  with pytest.raises(ValueError, match='cut short'):
    open_arrays(path)
  with pytest.raises(OSError, match='count cannot be read'):
    read('count')


def test_a_damaged_npz_is_told(tmp_path):
  path = write_npz(tmp_path / 'a.npz', ARRAYS)
  _, read = open_arrays(path)
  data = path.read_bytes()
  place = data.index(ARRAYS['a.weight'].tobytes())
  path.write_bytes(data[:place] + b'?' + data[place + 1:])
  with pytest.raises(OSError, match='a.weight cannot be read'):
    read('a.weight')
  path.write_bytes(data[:300])
  with pytest.raises(ValueError, match='a.npz is not an .npz'):
    open_arrays(path)
  np.savez(path, a=np.array([object()]))
  with pytest.raises(ValueError, match='a.npz.*objects, not numbers'):
    open_arrays(path)
