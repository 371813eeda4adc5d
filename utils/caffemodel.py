"""Weights of Caffe's networks: a small reader of `.caffemodel` files, and of `.npz` in their place.

A caffemodel is one `NetParameter` message of protobuf; of it only the layers' names and blobs are
read, without Caffe, its schema or the protobuf package.

Source: protobuf's encoding guide; the field numbers are caffe.proto's.
"""

import math
import pathlib
import zipfile
import zlib

import numpy as np
from numpy.lib.npyio import NpzFile

# Wire types of protobuf: how a field's value is written.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Field of a NetParameter -> fields of a layer's name and blobs there: LayerParameter (since 2014)
# and V1LayerParameter.
_LAYERS = {100: (1, 7), 2: (4, 6)}
# Fields of a BlobProto; the first four are num, channels, height and width of an old file.
_LEGACY_SHAPE = (1, 2, 3, 4)
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
_PARTS = ('weights', 'biases')


def read_weights(path):
  """The arrays of a network, as Caffe keeps them.

  Args:
    path: a `.caffemodel` or, with that ending, an `.npz` with the same names and shapes.

  Returns:
    dict name -> float32 array. The blobs of a layer are `<layer>/weights`, `<layer>/biases` and,
    where it has more, `<layer>/2` and so on; a convolution's weights are [out, in, height, width],
    a deconvolution's [in, out, height, width], and biases [out] ([1, 1, 1, out] in old files).

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is neither, cut short or damaged; the message names it and the byte.
  """
  path = pathlib.Path(path)
  if path.suffix == '.npz':
    return _read_npz(path)
  with open(path, 'rb') as file:
    return _Reader(path, file.read()).arrays()


def _read_npz(path):
  try:
    with open(path, 'rb') as file, NpzFile(file, allow_pickle=False) as archive:
      return {name: np.asarray(archive[name], np.float32) for name in archive.files}
  except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    raise ValueError(f'{path} is not an .npz of arrays, or it is damaged ({error}): write it with '
                     'np.savez, numbers only') from error


class _Reader:
  """A caffemodel in memory; places in it are offsets in bytes."""

  def __init__(self, path, data):
    self._path = path
    self._data = memoryview(data)

  def arrays(self):
    arrays = {}
    for number, value, place in self._fields(0, len(self._data)):
      if number in _LAYERS:
        self._expect(isinstance(value, slice), place, 'a layer is no message')
        name, blobs = self._layer(value, *_LAYERS[number])
        for index, blob in enumerate(blobs):
          key = f'{name}/{_PARTS[index] if index < len(_PARTS) else index}'
          self._expect(key not in arrays, place, f'a second layer of the name {name!r} has blobs')
          arrays[key] = blob
    if not arrays:
      raise ValueError(f'{self._path} holds no layer with weights: it is no caffemodel, or one of '
                       'a network that has not been trained')
    return arrays

  def _layer(self, message, name_field, blobs_field):
    name, blobs = '', []
    for number, value, place in self._fields(message.start, message.stop):
      if number in (name_field, blobs_field):
        self._expect(isinstance(value, slice), place, "a layer's name or blob is a number")
      if number == name_field:
        try:
          name = str(self._data[value], 'utf-8')
        except UnicodeDecodeError:
          self._fail(place, "a layer's name is no text")
      elif number == blobs_field:
        blobs.append(self._blob(value, place))
    return name, blobs

  def _blob(self, message, start):
    legacy, shape = {}, []
    raw = {_DATA: bytearray(), _DOUBLE_DATA: bytearray()}
    for number, value, place in self._fields(message.start, message.stop):
      if number in raw:  # packed or one by one: either way their bytes follow each other
        self._expect(isinstance(value, slice), place, 'numbers of a blob are no floats')
        raw[number] += self._data[value]
      elif number in _LEGACY_SHAPE:
        legacy[number] = value
      elif number == _SHAPE:
        self._expect(isinstance(value, slice), place, "a blob's shape is no message")
        shape += self._dimensions(value)
    if legacy:
      shape = [legacy.get(number, 0) for number in _LEGACY_SHAPE]
    self._expect(all(isinstance(length, int) for length in shape), start, 'a blob has no sizes')
    field, dtype = (_DOUBLE_DATA, '<f8') if raw[_DOUBLE_DATA] else (_DATA, '<f4')
    count, rest = divmod(len(raw[field]), np.dtype(dtype).itemsize)
    self._expect(rest == 0 and count == math.prod(shape), start,
                 f'a blob of shape {tuple(shape)} has {count} numbers and {rest} bytes')
    return np.frombuffer(raw[field], dtype).astype(np.float32).reshape(shape)

  def _dimensions(self, message):
    for number, value, _ in self._fields(message.start, message.stop):
      if number == 1 and isinstance(value, slice):  # packed
        place = value.start
        while place < value.stop:
          length, place = self._varint(place, value.stop)
          yield length
      elif number == 1:
        yield value

  def _fields(self, place, end):
    """Yields (number, value, place) of a message's fields; the value is an int or a slice."""
    while place < end:
      start = place
      tag, place = self._varint(place, end)
      number, kind = tag >> 3, tag & 7
      self._expect(number > 0 and kind in (_VARINT, _FIXED64, _BYTES, _FIXED32), start,
                   'what stands there is no field of a protobuf message')
      if kind == _VARINT:
        value, place = self._varint(place, end)
      else:
        if kind == _BYTES:
          length, place = self._varint(place, end)
        else:
          length = 8 if kind == _FIXED64 else 4
        if length > end - place:
          self._ends(start, f'a field of {length} bytes', end - place)
        value, place = slice(place, place + length), place + length
      yield number, value, start

  def _varint(self, place, end):
    """The variable-length integer at a place, and the place behind it."""
    value = 0
    for index in range(10):
      if place + index >= end:
        self._ends(place, 'a number', index)
      byte = self._data[place + index]
      value |= (byte & 0x7f) << (7 * index)
      if byte < 0x80:
        return value, place + index + 1
    self._fail(place, 'a number has more than 10 bytes')

  def _ends(self, place, what, left):
    self._fail(place, f'{what} begins of which {left} bytes are there (the file has '
               f'{len(self._data)})')

  def _expect(self, condition, place, problem):
    if not condition:
      self._fail(place, problem)

  def _fail(self, place, problem):
    raise ValueError(f'{self._path} is not a caffemodel, or it is cut short or damaged: at byte '
                     f'{place}, {problem}. Fetch it again')
