"""PyTorch's own weight files, .pth, read as tensors and nothing else: nothing is ever unpickled.

Source: the documentation of `torch.save`: a file is a zip of `data.pkl`, which says what tensors
there are, and of their values (since PyTorch 1.6), or five pickles with the values behind them
(before).
"""

import io
import os
import re
import zipfile

import numpy as np

from utils.tensor_pickles import Tensor, interpret

# First two values of a file before PyTorch 1.6.
_MAGIC, _PROTOCOL = 0x1950a86a20f9469cfc6c, 1001
# Entries of a checkpoint under which its network's tensors are.
KEYS = ('teacher', 'state_dict', 'model')


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
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
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
  """What a file since PyTorch 1.6 describes, and a function from a `Storage` to its bytes."""
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
    root = interpret(io.BytesIO(archive.read(stored('data.pkl'))))

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
    if interpret(file) != _MAGIC or interpret(file) != _PROTOCOL:
      raise ValueError('it does not begin as one')
    system = interpret(file)
    if not isinstance(system, dict) or system.get('little_endian') is not True:
      raise ValueError('its values are not little-endian')
    storages = {}
    root = interpret(file, storages)
    keys = interpret(file)
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
