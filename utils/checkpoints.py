"""Checkpoints: written as a TF1 Saver writes them; read from there, TF-Slim, Keras and ourselves.

One format: a V2 checkpoint of named arrays, the names being the original's, so that TensorFlow 1
can read ours and `tf.train.load_checkpoint` all. A JSON text beside the arrays says what they are.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import zipfile

import h5py
import numpy as np
import tensorflow as tf

from utils.files import replacing
from utils.named_arrays import open_arrays

METADATA = 'segsort/metadata'
STATE = 'checkpoint'


class Archive:
  """Named arrays in a file, read one at a time.

  Attributes:
    path: str.
    kind: 'segsort' (this project), 'original' (the TF1 release), 'slim' (TF-Slim), 'keras' (Keras
      Applications), 'tf' (another TensorFlow checkpoint) or 'arrays' (.npz or .safetensors).
    metadata: dict; empty where the file has none.
  """

  def __init__(self, path, shapes, read, kind, metadata=None):
    self.path = str(path)
    self.kind = kind
    self.metadata = metadata or {}
    self._shapes = dict(shapes)
    self._read = read

  def names(self):
    return list(self._shapes)

  def shape(self, name):
    return tuple(self._shapes[name])

  def read(self, name):
    return self._read(name)

  def describe(self):
    """One line for a person: what the file looks like."""
    kinds = {'segsort': "a checkpoint of this project", 'original': "a checkpoint of the original",
             'slim': 'a TF-Slim checkpoint', 'keras': 'a Keras weight file',
             'tf': 'a TensorFlow checkpoint of something else',
             'arrays': 'a file of named arrays'}
    model = self.metadata.get('model', {})
    of = f' of {model["name"]}' if isinstance(model, dict) and 'name' in model else ''
    names = self.names()
    shown = ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
    return f'{kinds[self.kind]}{of} with {len(names)} arrays ({shown})'


def open_archive(path):
  """Opens a checkpoint (by its prefix, V1 or V2), a Keras weight file (.h5, .keras) or arrays.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is neither, or damaged.
  """
  path = str(path)
  if os.path.isdir(path):
    raise ValueError(f'{path} is a folder: name a checkpoint in it, {path}/model.ckpt-N')
  for ending in ('.index', '.meta'):
    path = path.removesuffix(ending)
  path = re.sub(r'\.data-\d+-of-\d+$', '', path)
  if path.endswith(('.h5', '.hdf5', '.keras')):
    return _open_keras(path)
  if path.endswith(('.npz', '.safetensors')):
    shapes, read = open_arrays(path)
    return Archive(path, sorted(shapes.items()), read, 'arrays')
  if path.endswith(('.pth', '.pt')):
    raise ValueError(
        f"{path}: PyTorch's own files are not read here, convert it first: python "
        f'pyscripts/data/convert_weights.py {path} {os.path.splitext(path)[0]}.safetensors')
  if not os.path.exists(path) and not os.path.exists(f'{path}.index'):
    raise FileNotFoundError(f'{path}: no such checkpoint (neither this file nor {path}.index)')
  try:
    reader = tf.train.load_checkpoint(path)
    shapes = reader.get_variable_to_shape_map()
    metadata = {}
    if shapes.pop(METADATA, None) is not None:
      metadata = json.loads(reader.get_tensor(METADATA))
  except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
    raise ValueError(
        f'{path} is neither a TensorFlow checkpoint nor a Keras weight file, or it is damaged '
        f'({str(error).splitlines()[0]})') from error

  def read(name):
    try:
      return reader.get_tensor(name)
    except (tf.errors.OpError, RuntimeError, IndexError) as error:  # IndexError: the file is cut
      raise OSError(f'{path}: {name} cannot be read, the file is damaged or incomplete '
                    f'({str(error).splitlines()[0]})') from error
  return Archive(path, sorted(shapes.items()), read, _kind(shapes, metadata), metadata)


def _kind(shapes, metadata):
  if metadata:
    return 'segsort'
  if any('/bottleneck_v1/' in name for name in shapes):
    return 'original' if any('/block5/' in name or '/fc1_c' in name for name in shapes) else 'slim'
  return 'tf'


# What a Keras layer keeps, by how many arrays it has.
_KERAS_PARTS = {
    1: ('kernel',), 2: ('kernel', 'bias'),
    4: ('gamma', 'beta', 'moving_mean', 'moving_variance')}


def _open_keras(path):
  """Names are `<layer>/<kernel, bias, gamma, beta, moving_mean or moving_variance>`."""
  if not os.path.exists(path):
    raise FileNotFoundError(f'{path}: no such weight file')
  places = {}

  def visit(place, item):
    if not isinstance(item, h5py.Dataset) or item.shape is None or place.startswith('optimizer/'):
      return
    folder, _, part = place.rpartition('/')
    group = item.parent
    if folder.endswith('/vars'):  # Keras 3: the layer's name is an attribute
      if 'name' not in group.attrs:
        raise ValueError(f'{path} is a Keras weight file with no names of layers, as the first '
                         'releases of Keras 3 wrote them: load it with a newer one and save the '
                         'weights again')
      parts = _KERAS_PARTS.get(len(group), ())
      part = parts[int(part)] if int(part) < len(parts) else part
      layer = group.attrs['name']
    else:  # Keras 1 and 2: layer/layer/kernel:0
      layer = folder.split('/')[-1]
      part = part.removesuffix(':0').removeprefix('depthwise_')
    places[f'{layer}/{part}'] = place, item.shape
  try:
    with _hdf5(path) as file:
      file.visititems(visit)
  except (OSError, KeyError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path} is not a Keras weight file, or it is damaged ({error})') from error

  def read(name):
    try:
      with _hdf5(path) as file:
        return np.asarray(file[places[name][0]])
    except (OSError, RuntimeError) as error:
      raise OSError(f'{path}: {name} cannot be read, the file is damaged ({error})') from error
  shapes = {name: shape for name, (_, shape) in sorted(places.items())}
  return Archive(path, shapes, read, 'keras')


@contextlib.contextmanager
def _hdf5(path):
  """The HDF5 file at `path`, or the one inside a `.keras` archive."""
  if path.endswith('.keras'):
    with zipfile.ZipFile(path) as archive:
      path = io.BytesIO(archive.read('model.weights.h5'))
  with h5py.File(path, 'r') as file:
    yield file


def save(prefix, arrays, metadata=None):
  """Writes a checkpoint, which appears whole or not at all.

  Args:
    prefix: path without ending; `<prefix>.index` and `<prefix>.data-00000-of-00001` are written.
    arrays: name -> array.
    metadata: what can be written as JSON; None for a checkpoint without, as a TF1 Saver's.

  Raises:
    OSError: it cannot be written (a full disk, say); the folder is left as it was.
  """
  prefix = pathlib.Path(prefix)
  temporary = prefix.with_name(f'.{prefix.name}.{os.getpid()}.tmp')
  names = list(arrays)
  tensors = [tf.convert_to_tensor(value) for value in arrays.values()]
  if metadata is not None:
    names.append(METADATA)
    tensors.append(tf.constant(json.dumps(metadata)))
  endings = ('.data-00000-of-00001', '.index')  # the index last: with it the checkpoint exists
  try:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(temporary), tensor_names=names, shape_and_slices=[''] * len(names),
        tensors=tensors)
    for ending in endings:
      os.replace(f'{temporary}{ending}', f'{prefix}{ending}')
  except BaseException as error:
    left = list(prefix.parent.glob(f'{temporary.name}*'))
    if not os.path.exists(f'{prefix}.index'):
      left.append(pathlib.Path(f'{prefix}{endings[0]}'))
    for path in left:
      with contextlib.suppress(OSError):
        path.unlink()
    if not isinstance(error, (OSError, tf.errors.OpError)):
      raise
    raise OSError(
        f'{prefix}: the checkpoint cannot be written ({str(error).splitlines()[0]}). Older '
        'checkpoints are untouched: make room and run the same command again') from error


def latest(directory):
  """Prefix of the newest checkpoint of a folder by its `checkpoint` file, or None.

  Where the newest one has been removed, it is the newest of those that the file names and that are
  there.

  Raises:
    ValueError: the file is damaged, or none of what it names is there.
  """
  state = pathlib.Path(directory) / STATE
  if not state.exists():
    return None
  text = state.read_text(encoding='utf-8')
  newest = re.findall(r'^model_checkpoint_path: "(.*)"$', text, re.MULTILINE)
  if not newest:
    raise ValueError(f'{state} is damaged: it names no model_checkpoint_path')
  older = re.findall(r'^all_model_checkpoint_paths: "(.*)"$', text, re.MULTILINE)
  for name in [*newest, *reversed(older)]:
    prefix = state.parent / name
    if os.path.exists(f'{prefix}.index'):
      return prefix
  raise ValueError(f'{state} names {newest[0]}, which is missing, and so are all others that it '
                   f'names: restore them, or remove {state} to begin anew')


def update_state(directory, prefix, keep):
  """Names `prefix` as the newest checkpoint of a folder; removes all others but the `keep` newest.

  Args:
    directory: folder of checkpoints `model.ckpt-N`.
    prefix: one of them.
    keep: int > 0; the largest N count as the newest.
  """
  directory = pathlib.Path(directory)
  numbered = {}
  for index in directory.glob('model.ckpt-*.index'):
    match = re.fullmatch(r'model\.ckpt-(\d+)\.index', index.name)
    if match:
      numbered[int(match.group(1))] = index.name.removesuffix('.index')
  names = [numbered[number] for number in sorted(numbered)]
  newest = pathlib.Path(prefix).name
  kept = [name for name in names if name in names[-keep:] or name == newest]
  lines = [f'model_checkpoint_path: "{newest}"']
  lines += [f'all_model_checkpoint_paths: "{name}"' for name in kept]
  with replacing(directory / STATE, 'w') as file:
    file.write('\n'.join(lines) + '\n')
  for name in set(names) - set(kept):
    # The index first: without it there is no checkpoint that could be found damaged.
    for part in sorted(directory.glob(f'{name}.*'), key=lambda path: path.suffix != '.index'):
      part.unlink()
  for left in directory.glob('.model.ckpt-*.tmp*'):  # of a process that was killed while saving
    left.unlink()
