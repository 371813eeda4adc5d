"""Arrays on disk that take long to make, row by row, and are made once.

A folder of them appears whole or not at all; what an interrupted run has written is gone on with.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import socket

import numpy as np
import tqdm

from utils import files

MANIFEST = 'manifest.json'


def key_of(manifest):
  """16 hex digits that change with a dict of JSON values."""
  text = json.dumps(manifest, sort_keys=True, allow_nan=False)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached_rows(directory, manifest, count, produce, title):
  """The arrays that a manifest describes; made first where they are not there yet.

  Several processes may want the same arrays at the same time: one makes them, the others wait.
  Where the file system has no locks each makes its own, a line says so, and those of the first to
  be done stay; what such a process leaves when it is interrupted, nobody goes on with.

  Args:
    directory: folder of all such arrays; these are in `<kind>-<key_of(manifest)>` there.
    manifest: dict of JSON values, everything that the arrays depend on; `manifest['kind']` says
      what they are, for people.
    count: number of rows, N.
    produce: function of the first row that is missing, that yields dicts of name -> array
      [n, ...], the rows from there on in order, until all N are there; every time with the same
      names, dtypes and shapes of a row.
    title: what a progress bar says.

  Returns:
    dict of name -> read-only memory-mapped array [N, ...].

  Raises:
    OSError: they cannot be written; what is written is kept.
    What `produce` raises, likewise.
  """
  name = f'{manifest["kind"]}-{key_of(manifest)}'
  folder = pathlib.Path(directory) / name
  if not folder.exists():
    with files.locked(folder.with_name(f'.{name}.lock')) as is_alone:
      if not folder.exists():
        _make(folder, _partial_of(folder, is_alone), manifest, count, produce, title)
  return {path.stem: np.load(path, mmap_mode='r', allow_pickle=False)
          for path in sorted(folder.glob('*.npy'))}


def _partial_of(folder, is_alone):
  """Where a folder is made: the same place in all processes, if only one can be at it."""
  if is_alone:
    return folder.with_name(f'.{folder.name}.partial')
  partial = folder.with_name(f'.{folder.name}.{socket.gethostname()}.{os.getpid()}.partial')
  print(f'{folder.parent}: locks are not to be had there; each process makes its own copy, this '
        f'one in {partial.name}, which may be removed should it be interrupted')
  return partial


def _make(folder, partial, manifest, count, produce, title):
  partial.mkdir(parents=True, exist_ok=True)
  done = min((_rows_in(path) for path in partial.glob('*.npy')), default=0)
  with contextlib.ExitStack() as stack:
    progress = stack.enter_context(
        tqdm.tqdm(total=count, initial=done, desc=title, dynamic_ncols=True))
    opened = {}
    if done < count:
      for rows in produce(done):
        for name, values in rows.items():
          if name not in opened:
            opened[name] = stack.enter_context(_open(partial / f'{name}.npy', values, count, done))
          try:
            opened[name].write(np.ascontiguousarray(values).data)
          except OSError as error:
            raise OSError(error.errno, f'{error.strerror}: cannot write it; make room or choose '
                          'another folder, what is written is kept',
                          str(partial / f'{name}.npy')) from error
        progress.update(len(values))
      if progress.n != count:
        raise RuntimeError(f'{partial}: {progress.n} rows were made of {count}')
  files.write_json(partial / MANIFEST, manifest)
  try:
    os.replace(partial, folder)
  except OSError:
    if not (folder / MANIFEST).exists():
      raise
    shutil.rmtree(partial)  # another process, which no lock kept out, has made the same


def _rows_in(path):
  """How many whole rows a file holds that may have been cut off anywhere."""
  try:
    with open(path, 'rb') as file:
      shape, dtype = _read_header(file)
      return (os.path.getsize(path) - file.tell()) // _row_bytes(shape, dtype)
  except ValueError:  # cut off within the header
    return 0


def _read_header(file):
  version = np.lib.format.read_magic(file)
  if version != (1, 0):
    raise ValueError(f'version {version}')
  shape, _, dtype = np.lib.format.read_array_header_1_0(file)
  return shape, dtype


def _row_bytes(shape, dtype):
  return int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize


def _open(path, values, count, done):
  """A file for rows like `values`, cut after the first `done` ones."""
  if not done:
    file = open(path, 'wb')
    np.lib.format.write_array_header_1_0(
        file, {'descr': np.lib.format.dtype_to_descr(values.dtype), 'fortran_order': False,
               'shape': (count, *values.shape[1:])})
    return file
  file = open(path, 'r+b')
  shape, dtype = _read_header(file)
  if (shape, dtype) != ((count, *values.shape[1:]), values.dtype):
    file.close()
    raise ValueError(f'{path} holds rows of {dtype} {shape[1:]}, not {values.dtype} '
                     f'{values.shape[1:]}: remove {path.parent}')
  file.seek(file.tell() + done * _row_bytes(shape, dtype))
  file.truncate()
  return file
