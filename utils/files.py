"""Files that are complete or absent: written under a temporary name and renamed."""

import contextlib
import errno
import json
import os
import pathlib
import threading


@contextlib.contextmanager
def replacing(path, mode='wb'):
  """Opens a file that takes the place of `path` at the end of the block, or is removed on errors.

  A process killed within the block leaves the older file of that name untouched (and a `.tmp`).

  Args:
    path: the file to be made; its folder is made too.
    mode: 'wb' or 'w' (UTF-8).

  Yields:
    The open file.

  Raises:
    OSError: naming `path`, where it cannot be written (a full disk, for one).
  """
  path = pathlib.Path(path)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.{threading.get_ident()}.tmp')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(temporary, mode, encoding=None if 'b' in mode else 'utf-8') as file:
      yield file
    os.replace(temporary, path)
  except BaseException as error:
    with contextlib.suppress(OSError):
      temporary.unlink()
    if isinstance(error, OSError):
      raise OSError(
          error.errno, f'{error.strerror}: cannot write it (an older file of that name is '
          'untouched); make room or choose another folder', str(path)) from error
    raise


@contextlib.contextmanager
def locked(path):
  """Block that one process at a time is in, of all that name this file (also on other hosts).

  The lock is the system's (flock) and ends with its process. Where there is none (no POSIX), or the
  file system has none, nothing is kept apart: that is for a process by itself good enough.

  Yields:
    Whether there is a lock; without one other processes may be in the block too.
  """
  try:
    import fcntl
  except ImportError:
    yield False
    return
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, 'a') as file:
    is_locked = True
    try:
      fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
      if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
        raise
      is_locked = False
    yield is_locked


def write_json(path, value):
  """Writes `value` as indented JSON; a NaN or infinity in it is a ValueError, not a broken file."""
  with replacing(path, 'w') as file:
    json.dump(value, file, indent=1, allow_nan=False)
    file.write('\n')


def read_json(path):
  """The value in a JSON file; a damaged one is a ValueError that names it."""
  try:
    return json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{path} is not a JSON file ({error}): remove it or restore it') from error
