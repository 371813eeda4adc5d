"""PyTorch's own weight files, .pth, read as tensors and nothing else: nothing is ever unpickled.

A .pth file says by a pickle what tensors there are. Unpickling is calling what the file names, so
the pickle's opcodes are gone through here instead: what a file of tensors consists of becomes
numbers, texts, lists, dicts and descriptions of tensors, what it names is compared with a list of
words and never looked up, and anything else ends the reading with an error.

Source: the documentation of Python's `pickletools` and of `torch.save`: a zip of `data.pkl` and the
values (since PyTorch 1.6), or five pickles with the values behind them (before).
"""

import dataclasses
import io
import math
import os
import pickletools
import re
import zipfile

import numpy as np

# Storage -> dtype of its values; of a bfloat16 only the bits.
_STORAGES = {
    'torch DoubleStorage': '<f8', 'torch FloatStorage': '<f4', 'torch HalfStorage': '<f2',
    'torch BFloat16Storage': '<u2', 'torch LongStorage': '<i8', 'torch IntStorage': '<i4',
    'torch ShortStorage': '<i2', 'torch CharStorage': 'i1', 'torch ByteStorage': 'u1',
    'torch BoolStorage': '?'}
_DICT = 'collections OrderedDict'
_TENSOR = ('torch._utils _rebuild_tensor_v2', 'torch._utils _rebuild_tensor')
_PARAMETER = 'torch._utils _rebuild_parameter'
# What training scripts leave in their checkpoints beside tensors; it is dropped.
_OPTIONS = 'argparse Namespace'
_WORDS = {*_STORAGES, _DICT, *_TENSOR, _PARAMETER, _OPTIONS}
_CONSTANTS = {'BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE'}
_FIXED = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
_EMPTY = {'EMPTY_DICT': dict, 'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple}
_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
_MAGIC, _PROTOCOL = 0x1950a86a20f9469cfc6c, 1001
# Entries of a checkpoint under which its network's tensors are.
KEYS = ('teacher', 'state_dict', 'model')


@dataclasses.dataclass(frozen=True)
class _Word:
  """The name of something to call: one of `_WORDS`."""
  text: str


class _Dropped:
  """What is there and of no use."""


@dataclasses.dataclass(frozen=True)
class _Storage:
  """Values in a row: where they are in the file, their type and how many."""
  key: str
  kind: str
  count: int

  @property
  def dtype(self):
    return np.dtype(_STORAGES[self.kind])

  @property
  def size(self):
    return self.count * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class _Tensor:
  """A tensor as a view of a storage; offset and strides count values."""
  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def open_torch(path, key=None):
  """Opens a .pth file.

  Args:
    path: of the file.
    key: the entry of a checkpoint under which the tensors are; None for the first of `KEYS` that
      is a dict, or else the whole file.

  Returns:
    (shapes, read) as `utils.named_arrays.open_arrays` has them. Of the entry `teacher`, a method
    that is trained by self-distillation, the names are without `module.` and `backbone.`.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is damaged, or holds anything but tensors and what is known to be of no use; or
      there is no such entry.
  """
  path = str(path)
  with open(path, 'rb'):  # what the system says of a missing or unreadable file
    pass
  try:
    root, load = (_open_zip if zipfile.is_zipfile(path) else _open_legacy)(path)
    key, state = _entry(root, key)
    tensors = {name: value for name, value in state.items() if isinstance(value, _Tensor)}
    if not all(isinstance(name, str) for name in tensors) or not tensors:
      raise ValueError('there are no named tensors')
    for tensor in tensors.values():
      load(tensor.storage, check=True)
  except (ValueError, IndexError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:
    # zipfile raises OSError for places before the file's beginning, and RuntimeError where a part
    # is encrypted or of an unknown kind.
    raise ValueError(f'{path} is not a .pth file of tensors alone, or it is damaged: '
                     f'{str(error) or "a value is missing"}') from error
  if key == 'teacher':
    stripped = {name: name.replace('module.', '').replace('backbone.', '') for name in tensors}
    if len(set(stripped.values())) < len(stripped):
      raise ValueError(f'{path}: names are no more unique without module. and backbone.')
    tensors = {stripped[name]: tensor for name, tensor in tensors.items()}

  def read(name):
    tensor = tensors[name]
    try:
      return _values(tensor, load(tensor.storage))
    except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:
      raise OSError(f'{path}: {name} cannot be read, the file is damaged ({error})') from error
  return {name: tensor.shape for name, tensor in tensors.items()}, read


def _entry(root, key):
  if not isinstance(root, dict):
    raise ValueError('it is no dict of tensors')
  if key is None:
    key = next((name for name in KEYS if isinstance(root.get(name), dict)), None)
  elif not isinstance(root.get(key), dict):
    there = [name for name, value in root.items() if isinstance(value, dict)]
    raise ValueError(f'there is no entry {key!r} of tensors, only {", ".join(map(str, there))}')
  return key, root if key is None else root[key]


def _values(tensor, data):
  """A tensor's values as an array of its own; bounds were checked when it was described."""
  if 0 in tensor.shape:
    value = np.zeros(tensor.shape, tensor.storage.dtype)
  else:
    flat = np.frombuffer(data, tensor.storage.dtype)[tensor.offset:]
    strides = [step * flat.itemsize for step in tensor.strides]
    value = np.array(np.lib.stride_tricks.as_strided(flat, tensor.shape, strides), order='C')
  if tensor.storage.kind == 'torch BFloat16Storage':  # the upper half of a float32
    return (value.astype('<u4') << 16).view('<f4')
  return value


def _open_zip(path):
  """What a file since PyTorch 1.6 describes, and a function from a `_Storage` to its bytes."""
  with zipfile.ZipFile(path) as archive:
    members = {info.filename: info for info in archive.infolist()}
    if len(members) < len(archive.infolist()):
      raise ValueError('two parts of the zip have the same name')
    roots = [name.removesuffix('data.pkl') for name in members
             if re.fullmatch(r'[^/]+/data\.pkl', name)]
    if len(roots) != 1:
      raise ValueError(f'the zip has {len(roots)} parts <name>/data.pkl in the place of one')
    folder = roots[0]

    def stored(name, size=None):
      info = members.get(folder + name)
      if info is None:
        raise ValueError(f'the zip has no part {folder + name}')
      if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise ValueError(f'{folder + name} is compressed, as PyTorch never writes it')
      if size is not None and info.file_size != size:
        raise ValueError(f'{folder + name} has {info.file_size} bytes where {size} are needed')
      return info
    if f'{folder}byteorder' in members and archive.read(stored('byteorder')) != b'little':
      raise ValueError('its values are not little-endian')
    root = _interpret(io.BytesIO(archive.read(stored('data.pkl'))))

  def load(storage, check=False):
    info = stored(f'data/{storage.key}', storage.size)
    if check:
      return None
    with zipfile.ZipFile(path) as archive:
      return archive.read(info)
  return root, load


def _open_legacy(path):
  """The same for a file of before."""
  size = os.path.getsize(path)
  places = {}
  with open(path, 'rb') as file:
    if _interpret(file) != _MAGIC or _interpret(file) != _PROTOCOL:
      raise ValueError('it does not begin as one')
    system = _interpret(file)
    if not isinstance(system, dict) or system.get('little_endian') is not True:
      raise ValueError('its values are not little-endian')
    storages = {}
    root = _interpret(file, storages)
    keys = _interpret(file)
    if not isinstance(keys, list) or not all(
        isinstance(key, str) and key in storages for key in keys):
      raise ValueError('its list of storages is none')
    for key in keys:
      count = int.from_bytes(file.read(8), 'little')
      if count != storages[key].count or file.tell() + storages[key].size > size:
        raise ValueError(f'storage {key} of {storages[key].count} values has {count} in the file, '
                         'or is cut short')
      places[key] = file.tell()
      file.seek(storages[key].size, os.SEEK_CUR)

  def load(storage, check=False):
    if storage.key not in places:
      raise ValueError(f'storage {storage.key} is not in the file')
    if check:
      return None
    with open(path, 'rb') as file:
      file.seek(places[storage.key])
      data = file.read(storage.size)
    if len(data) != storage.size:
      raise EOFError('it has been cut short')
    return data
  return root, load


def _interpret(stream, storages=None):
  """The value that a pickle describes, without calling or importing anything for it.

  Args:
    stream: file at the pickle's first byte; left behind its last.
    storages: dict that receives key -> `_Storage` of those that are named, the first of each key.

  Raises:
    ValueError: an opcode, a name or an argument is none of a file of tensors.
    IndexError: a value is missing.
  """
  stack, outer, memo = [], [], {}
  storages = {} if storages is None else storages
  for opcode, argument, place in pickletools.genops(stream):
    name = opcode.name
    if name == 'STOP':
      return stack.pop()
    if name in _CONSTANTS:
      stack.append(argument)
    elif name in _FIXED:
      stack.append(_FIXED[name])
    elif name in _EMPTY:
      stack.append(_EMPTY[name]())
    elif name in _TUPLES:
      stack.append(tuple([stack.pop() for _ in range(_TUPLES[name])][::-1]))
    elif name in ('BINPUT', 'LONG_BINPUT'):
      memo[argument] = stack[-1]
    elif name in ('BINGET', 'LONG_BINGET'):
      if argument not in memo:
        raise ValueError(f'byte {place} of the pickle asks for what is not there')
      stack.append(memo[argument])
    elif name == 'MARK':
      outer.append(stack)
      stack = []
    elif name in ('TUPLE', 'APPENDS', 'SETITEMS'):
      items, stack = stack, outer.pop()
      if name == 'TUPLE':
        stack.append(tuple(items))
      else:
        _extend(stack[-1], items, name == 'SETITEMS')
    elif name == 'APPEND':
      item = stack.pop()
      _extend(stack[-1], [item], False)
    elif name == 'SETITEM':
      items = [stack.pop(), stack.pop()][::-1]
      _extend(stack[-1], items, True)
    elif name == 'GLOBAL':
      if argument not in _WORDS:
        raise ValueError(f'it names {argument.replace(" ", ".")}, which is no part of a tensor')
      stack.append(_Word(argument))
    elif name == 'BINPERSID':
      storage = _storage(stack.pop())
      if storages.setdefault(storage.key, storage) != storage:
        raise ValueError(f'storage {storage.key} is of two types or sizes')
      stack.append(storage)
    elif name in ('REDUCE', 'NEWOBJ'):
      arguments = stack.pop()
      stack.append(_made(stack.pop(), arguments))
    elif name == 'BUILD':  # an OrderedDict's attributes, the options of a script
      stack.pop()
      if not isinstance(stack[-1], (dict, _Dropped)):
        raise ValueError('it sets attributes of what is neither a dict nor options')
    elif name != 'PROTO':
      raise ValueError(f'the opcode {name} at byte {place} of its pickle is none that a file of '
                       'tensors needs')
  raise EOFError('its pickle has no end')


def _extend(target, items, pairs):
  if not pairs and isinstance(target, list):
    target.extend(items)
  elif pairs and isinstance(target, dict) and len(items) % 2 == 0 and all(
      isinstance(key, (str, int, float)) for key in items[::2]):
    target.update(zip(items[::2], items[1::2], strict=True))
  else:
    raise ValueError('it puts values into what is no list or dict for them')


def _made(word, arguments):
  """What calling a word with arguments stands for."""
  if isinstance(word, _Word) and isinstance(arguments, tuple):
    if word.text == _DICT and not arguments:
      return {}
    if word.text == _OPTIONS:
      return _Dropped()
    if word.text in _TENSOR and len(arguments) >= 4:
      return _tensor(*arguments[:4])
    if word.text == _PARAMETER and arguments and isinstance(arguments[0], _Tensor):
      return arguments[0]
  raise ValueError('it calls what is none of the ways to make a tensor')


def _storage(identity):
  if isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == 'storage':
    _, word, key, _, count, *view = identity
    if (isinstance(word, _Word) and word.text in _STORAGES and isinstance(key, str)
        and re.fullmatch('[0-9]+', key) and type(count) is int and count >= 0 and not any(view)):
      return _Storage(key, word.text, count)
  raise ValueError('it refers to something else than the values of a tensor')


def _tensor(storage, offset, shape, strides):
  def sizes(value):
    return isinstance(value, tuple) and all(
        type(length) is int and length >= 0 for length in value)
  if not (isinstance(storage, _Storage) and sizes((offset,)) and sizes(shape) and sizes(strides)
          and len(shape) == len(strides)):
    raise ValueError('a tensor has no proper sizes')
  last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
  if math.prod(shape) > storage.count or 0 not in shape and last >= storage.count:
    raise ValueError(f'a tensor of shape {shape} does not fit its {storage.count} values')
  return _Tensor(storage, offset, shape, strides)
