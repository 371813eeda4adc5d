"""The folder of a run explains itself: configuration, versions, metrics, TensorBoard events."""

import contextlib
import json
import math
import pathlib
import platform
import socket
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf

from utils.files import read_json, replacing, write_json


def _git(*arguments):
  root = pathlib.Path(__file__).resolve().parents[1]
  try:
    result = subprocess.run(
        ['git', *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True)
  except (OSError, subprocess.SubprocessError):
    return None  # not a checkout, or no git: the run is still worth doing
  return result.stdout.strip()


def environment():
  """What a result depends on beside its configuration: code revision, versions, machine."""
  changes = _git('status', '--porcelain', '--untracked-files=no')
  return {
      'command': [sys.executable, *sys.argv],
      'git_revision': _git('rev-parse', 'HEAD'),
      'git_modified': None if changes is None else bool(changes),
      'python': platform.python_version(),
      'tensorflow': tf.__version__,
      'keras': tf.keras.__version__,
      'numpy': np.__version__,
      'host': socket.gethostname(),
      # Not the logical ones: to list those starts TensorFlow, before workers can be made known.
      'devices': [device.name for device in tf.config.list_physical_devices()],
      'started': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
  }


@contextlib.contextmanager
def lock(directory):
  """Keeps a second process out of a run's folder; released by the system when the process dies.

  Raises:
    OSError: another process trains there.
  """
  try:
    import fcntl
  except ImportError:  # no POSIX: nothing keeps two runs apart
    yield
    return
  path = pathlib.Path(directory) / '.lock'
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, 'w') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      raise OSError(
          f'{directory}: another process trains there; wait for it, or name another '
          '--snapshot_dir') from error
    yield


class RunFolder:
  """Metrics and pictures of one run, which may be interrupted and resumed.

  Args:
    directory: the folder; made when missing.
    first_step: the step that comes next. Metrics of later steps, left by a run that was killed
      after its last checkpoint, are dropped from metrics.jsonl, for these steps are done again.
  """

  def __init__(self, directory, first_step=0):
    self.directory = pathlib.Path(directory)
    self.directory.mkdir(parents=True, exist_ok=True)
    self._metrics = self.directory / 'metrics.jsonl'
    if self._metrics.exists():
      kept = []
      for line in self._metrics.read_text(encoding='utf-8').splitlines():
        try:
          step = json.loads(line)['step']
        except (ValueError, KeyError):
          continue  # the line that was being written when the run was killed
        if step < first_step:
          kept.append(line + '\n')
      with replacing(self._metrics, 'w') as file:
        file.writelines(kept)
    self._writer = tf.summary.create_file_writer(str(self.directory))

  def scalars(self, step, values):
    """Appends one line to metrics.jsonl and one point for each scalar to TensorBoard."""
    values = {name: float(value) for name, value in values.items()}
    # A float16 gradient may overflow; JSON has no infinity.
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    with open(self._metrics, 'a', encoding='utf-8') as file:
      file.write(json.dumps({'step': int(step), **finite}, allow_nan=False) + '\n')
    with self._writer.as_default():
      for name, value in values.items():
        tf.summary.scalar(name, value, step=step)

  def images(self, step, images):
    """Writes to TensorBoard pictures, name -> uint8 [N, H, W, 3], and histograms, name -> float."""
    with self._writer.as_default():
      for name, value in images.items():
        if np.asarray(value).dtype == np.uint8:
          tf.summary.image(name, value, step=step, max_outputs=value.shape[0])
        else:
          tf.summary.histogram(name, value, step=step)

  def flush(self):
    self._writer.flush()

  def close(self):
    self._writer.close()


def claim(directory, config, *, ignore=(), defaults=None):
  """Writes config.json into a run's folder, or checks that the folder is this very run's.

  Args:
    directory: the run's folder.
    config: nested dict of JSON values: everything that the run's result depends on.
    ignore: top-level keys that a resumed run may change (how often something is written, say).
    defaults: dict of what top-level keys mean that an older version of this project did not know
      and so did not record.

  Returns:
    The environments of the run so far, this start's last.

  Raises:
    ValueError: the folder holds a run with another configuration; the differences are named.
  """
  path = pathlib.Path(directory) / 'config.json'
  config = json.loads(json.dumps(config))
  starts = []
  if path.exists():
    old = read_json(path)
    starts = old['starts']
    known = {**json.loads(json.dumps(defaults or {})), **old['config']}
    differences = [
        f'{name}: {known.get(name)!r} there, {config.get(name)!r} now'
        for name in sorted(set(old['config']) | set(config))
        if name not in ignore and known.get(name) != config.get(name)]
    if differences:
      raise ValueError(
          f'{path} belongs to a run with another configuration ({"; ".join(differences)}). '
          'Give the same flags to go on with it, or name another folder for a new run.')
  starts.append(environment())
  write_json(path, {'config': config, 'starts': starts})
  return starts
