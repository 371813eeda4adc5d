import struct

import numpy as np
import pytest

from utils import caffemodel


def varint(value):
  """An integer as protobuf writes it: seven bits a byte, the lowest first."""
  low, high = value & 0x7f, value >> 7
  return bytes([low | 0x80]) + varint(high) if high else bytes([low])


def integer(number, value):
  return varint(number << 3) + varint(value)


def message(number, content):
  return varint(number << 3 | 2) + varint(len(content)) + content


def shape_of(array, form):
  if form == 'legacy':
    return b''.join(
        integer(number, length)
        for number, length in enumerate((1,) * (4 - array.ndim) + array.shape, start=1))
  if form == 'packed':
    return message(7, message(1, b''.join(varint(length) for length in array.shape)))
  return message(7, b''.join(integer(1, length) for length in array.shape))


def data_of(array, form):
  if form == 'double':
    return message(8, array.astype('<f8').tobytes())
  if form == 'packed':
    return message(5, array.astype('<f4').tobytes())
  return b''.join(varint(5 << 3 | 5) + struct.pack('<f', value) for value in array.ravel())


def layer(name, blobs, *, old=False, shape='packed', data='packed'):
  """A LayerParameter (field 100 of a network), or a V1LayerParameter (field 2)."""
  name_field, type_field, blobs_field = (4, 5, 6) if old else (1, 2, 7)
  kind = integer(type_field, 4) if old else message(type_field, b'Convolution')
  content = message(name_field, name.encode()) + kind
  for blob in blobs:
    # A learning rate's multiplier, a fixed32 field of what is skipped.
    content += message(30, varint(1 << 3 | 5) + struct.pack('<f', 0.5))
    content += message(blobs_field, shape_of(blob, shape) + data_of(blob, data))
  return message(2 if old else 100, content)


def network(layers, **form):
  """The bytes of a caffemodel: name -> blobs."""
  return message(1, b'FCN') + integer(5, 1) + b''.join(
      layer(name, blobs, **form) for name, blobs in layers.items())


def random(*shape):
  return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def layers():
  """200 channels: their number takes two bytes."""
  return {'data': [], 'conv1_1': [random(200, 3, 3, 3), random(200)],
          'upsample_2': [random(1, 1, 4, 4)]}


def written(tmp_path, content):
  path = tmp_path / 'net.caffemodel'
  path.write_bytes(content)
  return path


@pytest.mark.parametrize('old', [False, True])
@pytest.mark.parametrize('shape', ['packed', 'unpacked', 'legacy'])
@pytest.mark.parametrize('data', ['packed', 'unpacked', 'double'])
def test_reads_every_way_of_writing(tmp_path, old, shape, data):
  path = written(tmp_path, network(layers(), old=old, shape=shape, data=data))
  arrays = caffemodel.read_weights(path)
  assert list(arrays) == ['conv1_1/weights', 'conv1_1/biases', 'upsample_2/weights']
  weights, biases = layers()['conv1_1']
  np.testing.assert_array_equal(arrays['conv1_1/weights'], weights)
  np.testing.assert_array_equal(
      arrays['conv1_1/biases'], biases.reshape(1, 1, 1, -1) if shape == 'legacy' else biases)
  np.testing.assert_array_equal(arrays['upsample_2/weights'], layers()['upsample_2'][0])
  assert all(array.dtype == np.float32 for array in arrays.values())


def test_more_blobs_than_two_are_numbered(tmp_path):
  path = written(tmp_path, network({'bn': [random(3), random(3), random(1)]}))
  assert list(caffemodel.read_weights(path)) == ['bn/weights', 'bn/biases', 'bn/2']


def test_a_file_cut_anywhere_within_a_layer_says_so(tmp_path):
  whole = network({'conv1_1': [random(2, 3), random(2)]})
  start = whole.index(message(1, b'conv1_1')) - 3  # the layer's tag takes two bytes, its length one
  for length in range(start + 1, len(whole)):
    path = written(tmp_path, whole[:length])
    with pytest.raises(ValueError, match=f'net.caffemodel is not .* cut short .* at byte {start}'
                       if length > start + 2 else 'at byte'):
      caffemodel.read_weights(path)


@pytest.mark.parametrize('content, problem', [
    (b'', 'holds no layer with weights'),
    (network({'data': []}), 'holds no layer with weights'),
    (b'<!DOCTYPE html><html>', 'at byte 0, what stands there is no field'),
    (bytes(20), 'at byte 0, what stands there is no field'),
    (b'\xff' * 20, 'at byte 0, a number has more than 10 bytes'),
    (network({'a': [random(2)]}) + layer('a', [random(2)]), "second layer of the name 'a'"),
    (message(100, message(1, b'\xff\xfe')), "a layer's name is no text"),
    (message(100, message(1, b'a') + integer(7, 3)), 'is a number'),
    (integer(100, 3), 'a layer is no message'),
    (message(100, message(7, shape_of(random(3), 'packed') + data_of(random(2), 'packed'))),
     r'a blob of shape \(3,\) has 2 numbers and 0 bytes'),
    (message(100, message(7, shape_of(random(1), 'packed') + message(5, b'12345'))),
     r'a blob of shape \(1,\) has 1 numbers and 1 bytes'),
    (message(100, message(7, message(1, b'1') + data_of(random(1), 'packed'))),
     'a blob has no sizes'),
    (message(100, message(7, integer(7, 1))), "a blob's shape is no message"),
    (message(100, message(7, integer(5, 1))), 'numbers of a blob are no floats'),
])
def test_what_is_no_caffemodel_is_refused(tmp_path, content, problem):
  with pytest.raises(ValueError, match=f'net.caffemodel .*{problem}'):
    caffemodel.read_weights(written(tmp_path, content))


def test_a_missing_file_is_named(tmp_path):
  for name in ('net.caffemodel', 'net.npz'):
    with pytest.raises(FileNotFoundError, match=name):
      caffemodel.read_weights(tmp_path / name)


def test_npz(tmp_path):
  path = tmp_path / 'net.npz'
  np.savez(path, **{'conv1_1/weights': random(2, 3, 3, 3).astype(np.float64)})
  arrays = caffemodel.read_weights(path)
  assert list(arrays) == ['conv1_1/weights'] and arrays['conv1_1/weights'].dtype == np.float32
  np.testing.assert_array_equal(arrays['conv1_1/weights'], random(2, 3, 3, 3))


def damaged(whole):
  middle = whole.index(b'\x93NUMPY') + 200
  return whole[:middle] + bytes([whole[middle] ^ 0xff]) + whole[middle + 1:]


@pytest.mark.parametrize('change', [
    lambda whole: b'', lambda whole: b'text', lambda whole: whole[:len(whole) // 2], damaged])
def test_a_damaged_npz_is_named(tmp_path, change):
  path = tmp_path / 'net.npz'
  np.savez(path, a=random(100))
  path.write_bytes(change(path.read_bytes()))
  with pytest.raises(ValueError, match='net.npz is not an .npz'):
    caffemodel.read_weights(path)


def test_no_pickle_is_loaded(tmp_path):
  path = tmp_path / 'net.npz'
  np.savez(path, a=np.array([{'a': 1}], object))
  with pytest.raises(ValueError, match='net.npz is not an .npz'):
    caffemodel.read_weights(path)


def test_a_lone_array_of_the_ending_npz_is_refused(tmp_path):
  path = tmp_path / 'net.npz'
  with open(path, 'wb') as file:
    np.save(file, random(3))
  with pytest.raises(ValueError, match='net.npz is not an .npz'):
    caffemodel.read_weights(path)
