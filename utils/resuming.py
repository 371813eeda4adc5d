"""Output folders that an interrupted command can go on filling, and that another one must not."""

import hashlib
import json
import os
import pathlib

from utils import files


def fingerprint(path):
  """16 hex digits that change with a file's content.

  Args:
    path: a file, or the prefix of a TensorFlow checkpoint (`model.ckpt-3`): its index, which holds
      a checksum of every tensor, then stands for the whole.

  Raises:
    FileNotFoundError: there is neither.
  """
  index = pathlib.Path(f'{path}.index')
  digest = hashlib.sha256()
  with open(index if index.exists() else path, 'rb') as file:
    while block := file.read(1 << 20):
      digest.update(block)
  return digest.hexdigest()[:16]


def stamp(*paths):
  """16 hex digits that change with where files lie, their sizes and when they were written.

  Cheap: the files are not read, so that a copy of the same content counts as another file.
  """
  digest = hashlib.sha256()
  for path in paths:
    status = os.stat(path)
    digest.update(f'{os.path.realpath(path)}\n{status.st_size} {status.st_mtime_ns}\n'.encode())
  return digest.hexdigest()[:16]


def held(record):
  """Block in which no other process claims the folder of a record, or calls it complete.

  Several processes may fill a folder together, each with its share of the images: what is there is
  to be listed, and the folder claimed, inside such a block.
  """
  record = pathlib.Path(record)
  return files.locked(record.with_name(f'.{record.name}.lock'))


def claim(record, settings, sources, outputs, overwrite=False):
  """Decides which outputs in a folder may be kept, removes the others, and writes the record.

  Outputs are kept that the same settings made from the same sources. Outputs of a run with other
  settings that was completed are removed, as the original's scripts overwrite each other's, and a
  line says so; those of one that is still to be finished are not, for it could not be any more.

  What is removed goes before the new record is written: a process that is killed in between leaves
  a record that is true of every output there is.

  Args:
    record: path of the JSON file that says what the outputs were made with: `settings`, `sources`
      and whether the run is `complete`, see `complete`.
    settings: dict of JSON values: everything that every output depends on.
    sources: id -> `stamp` of the files that the output of this id is made from, of the images that
      this process is to do: what others did on other hosts, where files have other stamps, is kept.
    outputs: path -> id, or None where it depends on all sources, of the outputs that exist, in the
      order in which they are to be removed; other files stay untouched.
    overwrite: whether all outputs are removed, whatever made them.

  Raises:
    ValueError: there are outputs of an incomplete run with other settings, whose differences it
      names, or outputs of which nothing is known.
  """
  record = pathlib.Path(record)
  settings = json.loads(json.dumps(settings))
  old = _read(record) if record.exists() and not overwrite else None
  kept, removed = {}, list(outputs)
  if old is None and outputs and not overwrite:
    first = min(outputs)
    raise ValueError(f'{first.parent} already holds {first.name} and it is not known how that was '
                     'made: name another --save_dir, or give --overwrite to remove such files')
  if old is not None and old['settings'] == settings:
    kept = old['sources']
    changed = {name for name, value in sources.items() if kept.get(name) != value}
    removed = [path for path, name in outputs.items()
               if (changed if name is None else name in changed)]
    if removed:
      print(f'{record.parent}: {len(removed)} files made from images or masks that have changed '
            'since then are made again')
  elif old is not None:
    differences = '; '.join(
        f'{name}: {old["settings"].get(name)!r} there, {settings.get(name)!r} now'
        for name in sorted({*old['settings'], *settings})
        if old['settings'].get(name) != settings.get(name))
    if outputs and not old['complete']:
      raise ValueError(
          f'{record} belongs to an unfinished run with other settings ({differences}): finish it, '
          'name another --save_dir, or give --overwrite to remove what it has written')
    if outputs:
      print(f'{record.parent}: the results of a finished run with other settings ({differences}) '
            'are replaced')
  for path in removed:
    path.unlink(missing_ok=True)  # another process may have joined parts and removed them
  files.write_json(
      record, {'complete': False, 'settings': settings, 'sources': {**kept, **sources}})


def complete(record):
  """Notes that the run which has claimed a folder has written all its outputs.

  Not to be called inside a block of `held`.
  """
  with held(record):
    files.write_json(record, {**_read(record), 'complete': True})


def _read(record):
  value = files.read_json(record)
  if not isinstance(value, dict) or not {'complete', 'settings', 'sources'} <= set(value):
    raise ValueError(f'{record} is not a record of results: remove it, or give --overwrite')
  return value
