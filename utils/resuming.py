"""Output folders that an interrupted command can go on filling, and that another one must not."""

import hashlib
import json
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


def claim(record, settings, outputs, overwrite):
  """Decides whether what is in a folder may be kept and completed.

  Args:
    record: path of the JSON file that says what the outputs were made with.
    settings: dict of JSON values: everything that an output depends on.
    outputs: paths of the outputs that exist (files; other files stay untouched).
    overwrite: whether outputs of other settings, or of the same, are removed.

  Returns:
    True if the outputs were made with the same settings, False if there are none (any more).

  Raises:
    ValueError: there are outputs of other, or of unknown, settings; names the differences.
  """
  record = pathlib.Path(record)
  outputs = sorted(outputs)
  settings = json.loads(json.dumps(settings))
  if overwrite:
    # The record goes first: outputs without one are never taken for those of other settings.
    record.unlink(missing_ok=True)
    for path in outputs:
      path.unlink()
  elif record.exists():
    old = files.read_json(record)
    differences = [f'{name}: {old.get(name)!r} there, {settings.get(name)!r} now'
                   for name in sorted({*old, *settings}) if old.get(name) != settings.get(name)]
    if not differences:
      return True
    raise ValueError(f'{record} belongs to a run with other settings ({"; ".join(differences)}): '
                     'name another --save_dir, or give --overwrite to remove what it has written')
  elif outputs:
    raise ValueError(
        f'{outputs[0].parent} already holds {outputs[0].name} and it is not known how that was '
        'made: name another --save_dir, or give --overwrite to remove such files')
  files.write_json(record, settings)
  return False
