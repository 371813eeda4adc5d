"""Memory of this process as Linux counts it: its own pages and those of mapped files."""

import pathlib

_PROCESS = pathlib.Path('/proc/self')


def resident_mb():
  """Megabytes (10^6 bytes) in memory now."""
  return _status('VmRSS')


def peak_mb():
  """Megabytes in memory at most since `reset_peak`, or since the process began."""
  return _status('VmHWM')


def reset_peak():
  """Begins `peak_mb` anew with what is in memory now."""
  (_PROCESS / 'clear_refs').write_text('5')


def _status(name):
  for line in (_PROCESS / 'status').read_text().splitlines():
    if line.startswith(f'{name}:'):
      return int(line.split()[1]) * 1024 / 1e6
  raise OSError(f'{_PROCESS}/status does not say {name}: memory can be measured on Linux only')
