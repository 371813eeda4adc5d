"""Weights that other frameworks were made to write as plain named arrays: .npz and .safetensors.

Source: the format's description at github.com/huggingface/safetensors.
"""

import json
import math
import os
import zipfile
import zlib

import numpy as np

from utils.files import replacing

# Where such files come from; for messages.
ORIGINS = (
    "HRNet's ImageNet weights are model.safetensors of huggingface.co/timm/hrnet_w18.ms_aug_in1k, "
    "hrnet_w32.ms_in1k and hrnet_w48.ms_in1k; DINO's are .pth files, "
    'https://dl.fbaipublicfiles.com/dino/dino_deitsmall8_300ep_pretrain/'
    'dino_deitsmall8_300ep_pretrain.pth for dino_vits8. A .pth file, as also those that '
    'github.com/HRNet/HRNet-Image-Classification and HRNet-Semantic-Segmentation link, becomes one '
    'by: python pyscripts/data/convert_weights.py FILE.pth FILE.safetensors')
_DTYPES = {
    'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I64': '<i8', 'I32': '<i4',
    'I16': '<i2', 'I8': 'i1', 'U8': 'u1', 'BOOL': '?'}
# Longest header that is read: a network of ten thousand arrays has one of a megabyte.
_HEADER_LIMIT = 100_000_000


def open_arrays(path):
  """Opens a file of named arrays.

  Args:
    path: with the ending `.npz` (np.savez, numbers only) or `.safetensors`.

  Returns:
    (shapes, read): dict name -> tuple of ints, and a function from a name to its array (bfloat16
    becomes float32), which raises OSError where the file has been damaged.

  Raises:
    FileNotFoundError: there is no such file; says where one comes from.
    ValueError: the file is not what its ending says, or it is damaged.
  """
  path = str(path)
  if not os.path.exists(path):
    raise FileNotFoundError(f'{path}: no such weight file. {ORIGINS}')
  return _open_npz(path) if path.endswith('.npz') else _open_safetensors(path)


def _open_npz(path):
  try:
    with zipfile.ZipFile(path) as archive:
      shapes = {}
      for member in archive.namelist():
        with archive.open(member) as file:
          version = np.lib.format.read_magic(file)
          shape, _, dtype = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                             else np.lib.format.read_array_header_2_0)(file)
        if dtype.hasobject:
          raise ValueError(f'{member} holds objects, not numbers')
        shapes[member.removesuffix('.npy')] = shape
  except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    raise ValueError(f'{path} is not an .npz of arrays, or it is damaged ({error}): write it with '
                     'np.savez, numbers only') from error

  def read(name):
    try:
      with np.load(path, allow_pickle=False) as archive:
        return archive[name]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
      raise OSError(f'{path}: {name} cannot be read, the file is damaged ({error})') from error
  return shapes, read


def _open_safetensors(path):
  size = os.path.getsize(path)
  with open(path, 'rb') as file:
    length = int.from_bytes(file.read(8), 'little')
    header = file.read(length) if 8 + length <= size and length <= _HEADER_LIMIT else b''
  try:
    entries = json.loads(header)
    entries.pop('__metadata__', None)
    arrays = {name: _array_entry(name, entry) for name, entry in entries.items()}
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
        f'{path} is not a .safetensors file, or it is damaged ({error})') from error
  start = 8 + length
  end = start + max((last for _, _, _, last in arrays.values()), default=0)
  if end > size:
    raise ValueError(f'{path} is cut short: {size} bytes where its arrays need {end}')

  def read(name):
    dtype, shape, first, last = arrays[name]
    with open(path, 'rb') as file:
      file.seek(start + first)
      data = file.read(last - first)
    if len(data) != last - first:
      raise OSError(f'{path}: {name} cannot be read, the file has been cut short')
    value = np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
    # A bfloat16 is the upper half of a float32.
    return (value.astype('<u4') << 16).view('<f4') if dtype == 'BF16' else value
  return {name: shape for name, (_, shape, _, _) in arrays.items()}, read


def write_safetensors(path, arrays):
  """Writes a .safetensors file, which appears whole or not at all.

  Args:
    path: of the file.
    arrays: dict name -> array of a dtype that the format has.

  Raises:
    ValueError: it has not.
    OSError: the file cannot be written.
  """
  kinds = {np.dtype(dtype): kind for kind, dtype in _DTYPES.items() if kind != 'BF16'}
  header, end = {}, 0
  for name, value in arrays.items():
    kind = kinds.get(value.dtype.newbyteorder('<'))
    if kind is None:
      raise ValueError(f'{path}: {name} is of the type {value.dtype}, which no .safetensors holds')
    header[name] = {
        'dtype': kind, 'shape': value.shape, 'data_offsets': [end, end + value.nbytes]}
    end += value.nbytes
  text = json.dumps(header).encode()
  text += b' ' * (-len(text) % 8)  # the values of the format are aligned
  with replacing(path) as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for value in arrays.values():
      file.write(value.astype(value.dtype.newbyteorder('<'), copy=False).tobytes())


def _array_entry(name, entry):
  """(dtype, shape, first byte, byte after the last) of an entry of the header, checked."""
  shape = tuple(int(length) for length in entry['shape'])
  first, last = entry['data_offsets']
  if entry['dtype'] not in _DTYPES:
    raise ValueError(f'{name} is of the type {entry["dtype"]}, which is not known here')
  wanted = math.prod(shape) * np.dtype(_DTYPES[entry['dtype']]).itemsize
  if min(shape, default=0) < 0 or first < 0 or last - first != wanted:
    raise ValueError(f'{name} of shape {shape} does not fit its bytes {first} to {last}')
  return entry['dtype'], shape, first, last
